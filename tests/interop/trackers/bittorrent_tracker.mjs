// Starts the server half of bittorrent-tracker: SERVER_MODULE IP PORT.
// The package's own command loads its WebRTC client too, whose native part is not installed.
const [module, ip, port] = process.argv.slice(2)
const { default: Server } = await import(module)
const server = new Server({ http: true, udp: true, ws: false, stats: false })
for (const event of ['error', 'warning', 'start', 'update', 'complete', 'stop']) {
  server.on(event, (detail) => console.log(event, detail?.message ?? detail))
}
server.listen(Number(port), { http: ip, udp: ip, udp6: '::1' })
