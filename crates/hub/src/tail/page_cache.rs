//! Pages of the log that subscribers share.

use std::sync::Arc;

use parking_lot::Mutex;
use thoughtwire_proto::Seq;

use super::TailEntry;

/// A page of the log as entries, so that records that are read back are encoded once as well.
pub(crate) type SharedPage = Arc<[Arc<TailEntry>]>;

/// Number of pages that are kept: clients that reconnect together read the same ones.
const MAX_PAGES: usize = 8;

/// Whole pages of a log that were read lately, newest last.
#[derive(Default)]
pub(super) struct PageCache(Mutex<Vec<SharedPage>>);

impl PageCache {
    /// A page that has the record behind a position.
    pub(super) fn get(&self, after: Seq) -> Option<SharedPage> {
        let wanted = after.next();
        let has = |page: &&SharedPage| {
            let first = page.first().and_then(|entry| entry.seq());
            let last = page.last().and_then(|entry| entry.seq());
            first.is_some_and(|first| first <= wanted) && last.is_some_and(|last| last >= wanted)
        };
        self.0.lock().iter().find(has).cloned()
    }

    pub(super) fn add(&self, page: &SharedPage) {
        let mut pages = self.0.lock();
        if pages.len() >= MAX_PAGES {
            pages.remove(0);
        }
        pages.push(Arc::clone(page));
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}
