//! The build driver of pid1. In reading order, along the one way that data flows:
//!
//! flags + image spec + vendor/sources.toml + files → plan → graph → resolved step → key → store → outcome → report
//!
//! docs/ARCHITECTURE.md is the map.

pub mod cli;
pub mod session;
pub mod verbs;

pub mod workspace;

pub mod image;
pub mod lock;
pub mod packages;
pub mod schema;

pub mod graph;
pub mod key;
pub mod plan;

pub mod artifact;
pub mod cache;
pub mod engine;
pub mod interrupt;
pub mod roots;
pub mod sandbox;
pub mod seal;
pub mod space;
pub mod store;

pub mod doctor;
pub mod toolbox;

pub mod disk;

pub mod pin;

pub mod elf;
pub mod needs;
pub mod overlay;
pub mod preflight;

pub mod steps;

pub mod licence;
pub mod manifest;
pub mod provenance;
pub mod sbom;
pub mod signature;

pub mod qemu;
pub mod report;
pub mod repro;
