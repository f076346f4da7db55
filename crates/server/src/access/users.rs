//! How many connections each user has, where there are keys to tell users apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use thoughtwire_proto::{Refusal, RefusalCode, UserId};

#[derive(Clone)]
pub(crate) struct Users {
    counts: Arc<Mutex<HashMap<UserId, usize>>>,
    most: usize,
}

/// One of a user's places; given back when it is dropped.
pub(crate) struct UserPlace {
    users: Users,
    user: UserId,
}

impl Users {
    pub(super) fn new(most: usize) -> Self {
        Self { counts: Arc::default(), most }
    }

    pub(crate) fn take(&self, user: &UserId) -> Option<UserPlace> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(user.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(UserPlace { users: self.clone(), user: user.clone() })
    }
}

impl UserPlace {
    pub(crate) fn is_of(&self, user: &UserId) -> bool {
        self.user == *user
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut counts = self.users.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

pub(crate) fn too_many() -> Refusal {
    Refusal::new(RefusalCode::TooFast, "this user has as many connections as one may have; close some first")
}
