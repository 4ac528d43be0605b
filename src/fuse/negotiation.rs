//! Negotiation: what the kernel and the daemon agree on when the mount begins (`FUSE_INIT`), which
//! fuser handles. All other requests go to the transports.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fuser::{Filesystem, InitFlags, KernelConfig, Request};

use super::service::Service;

/// The largest write in one request, in bytes: the kernel's own limit, unless raised by sysctl.
pub(super) const WRITE_BYTES: u32 = 1 << 20;
/// The number of background requests that the kernel sends at once.
const BACKGROUND: u16 = 64;

/// Asks the kernel for capabilities that make a mount faster.
#[derive(Debug)]
pub(super) struct Negotiation {
    service: Arc<Service>,
    /// Whether rings are prepared; after negotiation, whether the kernel uses them.
    rings: Arc<AtomicBool>,
}

impl Negotiation {
    pub(super) fn new(service: Arc<Service>, rings: Arc<AtomicBool>) -> Self {
        Self { service, rings }
    }
}

impl Filesystem for Negotiation {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // An older kernel goes without those that it does not know.
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            // There is no other source for the groups of a process in another PID namespace.
            InitFlags::FUSE_CREATE_SUPP_GROUP,
            // Files that are not cached can be mapped all the same.
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        ] {
            let _unknown = config.add_capabilities(wanted);
        }
        if self.rings.load(Ordering::Relaxed) {
            let agreed = config.add_capabilities(InitFlags::FUSE_OVER_IO_URING);
            self.rings.store(agreed.is_ok(), Ordering::Relaxed);
        }
        let works = &self.service.passthrough.works;
        if works.load(Ordering::Relaxed) {
            let agreed = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH);
            let agreed = agreed.is_ok() && config.set_max_stack_depth(1).is_ok();
            works.store(agreed, Ordering::Relaxed);
        }
        let _nearest = config.set_max_write(WRITE_BYTES);
        let _nearest = config.set_max_background(BACKGROUND);
        Ok(())
    }
}
