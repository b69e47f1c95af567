//! From folders, archives and files to sets.

pub(super) mod archive;
pub(super) mod cifar;
pub(super) mod class_folders;
pub(super) mod class_list;
pub(super) mod class_names;
pub(super) mod digits;
pub(super) mod folder;
pub(super) mod idx;
pub(super) mod idx_names;
pub(super) mod named_sets;
pub(super) mod part_names;
pub(super) mod path;
pub(super) mod search_paths;
pub(super) mod tar_entries;
pub(super) mod tar_folder;
pub(super) mod tiny_imagenet;
pub(super) mod unread;
pub(super) mod walk;
pub(super) mod webdataset;
