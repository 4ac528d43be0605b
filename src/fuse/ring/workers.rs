//! Workers: threads for what may wait for the disk or work for long, so that the thread of a
//! ring answers others meanwhile. There are as many as were needed at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::fuse::service::guarded;
use crate::fuse::syncs::Task;

/// Threads of one ring at most: more than there are entries never have anything to do.
const THREADS_MAX: usize = super::ENTRIES;

/// The workers of a ring. They run on the processors that whoever asks for them runs on.
#[derive(Default)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    tasks: Mutex<Tasks>,
    more: Condvar,
}

#[derive(Default)]
struct Tasks {
    waiting: VecDeque<Task>,
    idle: usize,
    over: bool,
}

impl Workers {
    /// Has a task done, by a new thread if all are busy.
    pub(super) fn run(&mut self, task: Task) {
        let mut tasks = self.shared.tasks.lock();
        tasks.waiting.push_back(task);
        if tasks.waiting.len() <= tasks.idle || self.threads.len() >= THREADS_MAX {
            self.shared.more.notify_one();
            return;
        }
        drop(tasks);
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("regfs-worker".into());
        match thread.spawn(move || shared.work()) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                log::error!("no thread for a request that may wait: {error}");
                // Better slow than never.
                let task = self.shared.tasks.lock().waiting.pop_back();
                if let Some(task) = task {
                    run(task);
                }
            }
        }
    }
}

impl Drop for Workers {
    /// Waits for what is being done.
    fn drop(&mut self) {
        self.shared.tasks.lock().over = true;
        self.shared.more.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ended = thread.join();
        }
    }
}

fn run(task: Task) {
    // A panic drops the answer, which tells the kernel.
    let _told = guarded(|| {
        task();
        Ok(())
    });
}

impl Shared {
    fn work(&self) {
        let mut tasks = self.tasks.lock();
        loop {
            if let Some(task) = tasks.waiting.pop_front() {
                drop(tasks);
                run(task);
                tasks = self.tasks.lock();
            } else if tasks.over {
                return;
            } else {
                tasks.idle += 1;
                self.more.wait(&mut tasks);
                tasks.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_waits_keeps_nobody_waiting_and_a_panic_is_one_tasks_alone() {
        let mut workers = Workers::default();
        let (go, wait) = channel::<()>();
        let (done, ended) = channel();
        workers.run(Box::new(move || {
            let _gone = wait.recv();
        }));
        workers.run(Box::new(|| panic!("as a test")));
        for number in 0..100 {
            let done = done.clone();
            workers.run(Box::new(move || done.send(number).unwrap()));
        }
        let mut numbers: Vec<i32> = ended.iter().take(100).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        drop(go);
    }
}
