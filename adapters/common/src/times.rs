//! Times that are the same in all clients.

use std::time::Duration;

/// The limit on the time that an unwanted body is drained. Waiting longer costs more than a new connection.
pub const DRAINING: Duration = Duration::from_millis(500);
/// The time that a client keeps an idle connection: less than the minute after which many servers and
/// middleboxes close one.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// The limit on the timeouts of clients and servers: a year. The end of a longer one may not be representable.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
