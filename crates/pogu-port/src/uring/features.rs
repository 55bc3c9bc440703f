//! Which operation forms the kernel knows. Decided once, by [`probe`](super::probe::probe), not by version numbers: they
//! lie where vendors backport, and where a filter refuses.

/// See the [module](self). What is required is not listed: without it there is no [`Features`] at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Features {
    pub(super) set_up: SetUp,
    pub(super) multishot: bool,
    pub(super) length_cap: bool,
    pub(super) no_iowait: bool,
}

/// Optional flags of the ring's set-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SetUp {
    /// No indirection between submission queue and entries (6.6).
    pub(super) no_sqarray: bool,
    /// Completions are made when the port's thread asks for them (6.1); brings SINGLE_ISSUER along.
    pub(super) defer_taskrun: bool,
    /// The older form: completions are made at any entry into the kernel, without an interrupt (5.19).
    pub(super) coop_taskrun: bool,
}

impl SetUp {
    /// From newest to oldest; the first that the kernel accepts is used.
    pub(super) const FORMS: [SetUp; 4] = [
        SetUp { no_sqarray: true, defer_taskrun: true, coop_taskrun: false },
        SetUp { no_sqarray: false, defer_taskrun: true, coop_taskrun: false },
        SetUp { no_sqarray: false, defer_taskrun: false, coop_taskrun: true },
        SetUp { no_sqarray: false, defer_taskrun: false, coop_taskrun: false },
    ];
}

impl Features {
    pub(super) fn set_up(&self) -> SetUp {
        self.set_up
    }

    /// Waiting for completions need not count as waiting for a disk (6.15).
    pub(super) fn no_iowait(&self) -> bool {
        self.no_iowait
    }

    /// The refused optional forms, for people; empty if none was.
    pub(crate) fn refused(&self) -> String {
        let forms = [
            (self.set_up.no_sqarray, "rings without an index array"),
            (self.set_up.defer_taskrun, "deferred task work"),
            (self.multishot, "multishot receive"),
            (self.length_cap, "length caps on multishot receive"),
            (self.no_iowait, "waits outside of iowait"),
        ];
        let refused: Vec<&str> = forms.iter().filter(|(known, _)| !known).map(|(_, name)| *name).collect();
        refused.join(", ")
    }
}

/// Features masked off, so that tests run the older forms on a newer kernel.
#[cfg(any(test, feature = "masks"))]
impl Features {
    pub(crate) fn without_no_sqarray(mut self) -> Features {
        self.set_up.no_sqarray = false;
        self
    }

    pub(crate) fn without_defer_taskrun(mut self) -> Features {
        self.set_up = SetUp { no_sqarray: false, defer_taskrun: false, coop_taskrun: true };
        self
    }

    pub(crate) fn without_task_flags(mut self) -> Features {
        self.set_up = SetUp { no_sqarray: false, defer_taskrun: false, coop_taskrun: false };
        self
    }

    pub(crate) fn without_multishot(mut self) -> Features {
        self.multishot = false;
        self.without_length_cap()
    }

    pub(crate) fn without_length_cap(mut self) -> Features {
        self.length_cap = false;
        self
    }

    pub(crate) fn without_no_iowait(mut self) -> Features {
        self.no_iowait = false;
        self
    }
}
