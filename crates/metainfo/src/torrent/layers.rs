//! `piece layers` (BEP 52): the hash of each piece, for files of more than one.
//!
//! They stand beside the info dictionary, so the info hash does not vouch for them; the roots in it
//! do. Whoever has only that dictionary gets them from peers.

use std::collections::BTreeMap;

use crate::bencode::{Encoder, Kind, Node};
use crate::merkle::{MerkleHash, height, leaf_count, piece_layer, root_of_piece_layer};
use crate::{PieceIndex, PieceTree};

use super::{Info, TorrentError};

/// The layers that are there, by the root that they lead to: files with the same bytes share one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PieceLayers(BTreeMap<MerkleHash, Box<[MerkleHash]>>);

impl PieceLayers {
    /// The layers of a .torrent file that belong to files of `info`; each is verified, and none has to
    /// be there.
    pub(super) fn read(layers: Option<Node<'_, '_>>, info: &Info) -> Result<Self, TorrentError> {
        let mut read = Self::default();
        let Some(layers) = layers.filter(|_| info.has_v2()) else {
            return Ok(read);
        };
        if layers.kind() != Kind::Dict {
            return Err(TorrentError::Missing("piece layers"));
        }
        let given: BTreeMap<&[u8], Node<'_, '_>> = layers.dict().into_iter().flatten().collect();
        for file in read.missing(info).collect::<Vec<_>>() {
            let root = info.files().get(file).and_then(|file| file.root);
            let layer = root.and_then(|root| given.get(&root[..]));
            if let Some(layer) = layer {
                read.add(
                    info,
                    file,
                    layer.as_bytes().ok_or(TorrentError::Missing("piece layers"))?,
                )?;
            }
        }
        Ok(read)
    }

    /// Takes a file's layer, hash by hash in one string, if it is the one that belongs to the file.
    ///
    /// # Errors
    /// [`TorrentError::LayerLength`] and [`TorrentError::LayerRoot`].
    pub fn add(&mut self, info: &Info, file: usize, layer: &[u8]) -> Result<(), TorrentError> {
        let Some((entry, root)) =
            info.files().get(file).and_then(|entry| Some((entry, entry.root?)))
        else {
            return Err(TorrentError::Missing("pieces root"));
        };
        let expected = (info.pieces_of_file(file).len() as u64).saturating_mul(32);
        if layer.len() as u64 != expected {
            let path = entry.path.display();
            return Err(TorrentError::LayerLength { path, got: layer.len(), expected });
        }
        let layer = layer.as_chunks().0;
        let is_right = match self.0.get(&root) {
            Some(known) => **known == *layer,
            None => root_of_piece_layer(layer, info.geometry().piece_length()) == root,
        };
        if !is_right {
            return Err(TorrentError::LayerRoot(entry.path.display()));
        }
        self.0.insert(root, layer.into());
        Ok(())
    }

    /// The hashes of a file's pieces: in a file of one piece, its root. `None` when they are not there,
    /// and for files without bytes.
    pub fn of_file<'a>(&'a self, info: &'a Info, file: usize) -> Option<&'a [MerkleHash]> {
        let root = info.files().get(file)?.root.as_ref()?;
        match info.pieces_of_file(file).len() {
            1 => Some(std::slice::from_ref(root)),
            pieces => self.0.get(root).map(|layer| &**layer).filter(|layer| layer.len() == pieces),
        }
    }

    /// The hash over a piece's part of a file; see [`Info::tree_bytes`]. `None` when it is not there.
    pub fn piece_root(&self, info: &Info, piece: PieceIndex) -> Option<MerkleHash> {
        let (file, number) = info.file_of_piece(piece)?;
        self.of_file(info, file)?.get(number as usize).copied()
    }

    /// What a piece's blocks lead up to. `None` when that is not there.
    pub fn piece_tree(&self, info: &Info, piece: PieceIndex) -> Option<PieceTree> {
        let (file, number) = info.file_of_piece(piece)?;
        let root = *self.of_file(info, file)?.get(number as usize)?;
        let leaves = leaf_count(info.files().get(file)?.length);
        let top = piece_layer(info.geometry().piece_length()).min(height(leaves));
        Some(PieceTree { root, top, bytes: info.tree_bytes(piece) })
    }

    /// Takes the layer that leads up to `root`, which its giver has proved.
    pub fn add_proved(&mut self, root: MerkleHash, layer: &[MerkleHash]) {
        self.0.insert(root, layer.into());
    }

    /// The value of `piece layers` in a .torrent file.
    pub(super) fn write(&self, out: &mut Encoder) {
        out.begin_dict();
        for (root, layer) in &self.0 {
            out.key(root).bytes(layer.as_flattened());
        }
        out.end();
    }

    /// The files whose layers are not there.
    pub fn missing<'a>(&'a self, info: &'a Info) -> impl Iterator<Item = usize> + use<'a> {
        let files = info.files().iter().enumerate().filter(|(_, entry)| entry.root.is_some());
        files.map(|(file, _)| file).filter(|file| self.of_file(info, *file).is_none())
    }
}
