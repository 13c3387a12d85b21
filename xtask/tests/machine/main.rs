//! The slow tests: real builds and real boots, through the real command line. They fail, and never skip, when a tool is missing.
//!
//! They use the store that the user has, so that what is built once is built once; only `rebuild` starts from nothing.

mod boot;
mod cache;
mod elsewhere;
mod endings;
mod evidence;
mod exhaust;
mod files;
mod hashes;
mod keyboard;
mod machine;
mod network;
mod offline;
mod outputs;
mod rebuild;
mod refuse;
mod restart;
mod settings;
mod shared;
mod signals;
mod support;
mod times;
mod verify;
mod volumes;
mod walls;
mod wire;
