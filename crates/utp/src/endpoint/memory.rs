//! What all connections together hold of what nobody has read: strangers may open thousands, and send to
//! each.

use super::Endpoint;

impl Endpoint {
    /// Notes what a connection holds now, and tells it how much more all of them may.
    pub(super) fn recount(&mut self, index: u32) {
        let (others, most) = (self.held_bytes, self.config.held_bytes_max);
        let Some(connection) = self.at(index) else { return };
        let held = connection.held_bytes();
        let before = std::mem::replace(&mut connection.counted, held);
        let all = others.saturating_add(held).saturating_sub(before);
        connection.set_room(most.saturating_sub(all));
        self.held_bytes = all;
    }
}
