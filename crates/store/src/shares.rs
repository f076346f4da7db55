//! Shares of the readers: one user's reads delay nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permission to read for a limited number of readers.
pub(crate) struct ReadShares {
    all: Arc<Semaphore>,
    /// For the reads that users ask for. The rest is for reads of the server itself, such as the
    /// pages of logs that connections follow.
    all_users: Arc<Semaphore>,
    per_user: usize,
    users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// Permission to read. Dropping it returns it.
pub(crate) struct ReadPermit {
    _user: Option<[OwnedSemaphorePermit; 2]>,
    _reader: Option<OwnedSemaphorePermit>,
}

impl ReadShares {
    /// Shares a number of readers: three quarters are for users, half of those for one user.
    pub(crate) fn new(readers: usize) -> Self {
        let users = (readers * 3 / 4).max(1);
        Self {
            all: Arc::new(Semaphore::new(readers)),
            all_users: Arc::new(Semaphore::new(users)),
            per_user: users.div_ceil(2),
            users: Mutex::default(),
        }
    }

    /// Waits for a permit. A user's reads wait for each other first, so they delay nobody else.
    pub(crate) async fn permit(&self, user: Option<&str>) -> ReadPermit {
        // These semaphores are never closed, so they always give a permit.
        let user = match user {
            None => None,
            Some(user) => {
                let own = self.of_user(user).acquire_owned().await.ok();
                let shared = Arc::clone(&self.all_users).acquire_owned().await.ok();
                own.zip(shared).map(|(own, shared)| [own, shared])
            }
        };
        ReadPermit { _user: user, _reader: Arc::clone(&self.all).acquire_owned().await.ok() }
    }

    fn of_user(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.users.lock();
        if let Some(known) = users.get(user).and_then(Weak::upgrade) {
            return known;
        }
        users.retain(|_, known| known.strong_count() > 0);
        let fresh = Arc::new(Semaphore::new(self.per_user));
        users.insert(user.to_owned(), Arc::downgrade(&fresh));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Waits for a permit for so long that only a free one comes.
    async fn free(shares: &ReadShares, user: Option<&str>) -> Option<ReadPermit> {
        tokio::time::timeout(Duration::from_millis(50), shares.permit(user)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn one_users_reads_delay_nobody_else() {
        let shares = ReadShares::new(8);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(free(&shares, Some("ada")).await.unwrap());
        }
        assert!(free(&shares, Some("ada")).await.is_none());
        let bob = free(&shares, Some("bob")).await;
        assert!(bob.is_some() && free(&shares, None).await.is_some());
        // Users together leave some readers to the server.
        let others: Vec<_> = (0..9).map(|n| n.to_string()).collect();
        for user in &others {
            held.extend(free(&shares, Some(user)).await);
        }
        assert_eq!(held.len(), 5);
        assert!(free(&shares, None).await.is_some());
        held.remove(0);
        assert!(free(&shares, Some("ada")).await.is_some());
    }
}
