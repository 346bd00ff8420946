//! A minimum rate for clients that read responses, and for those that send bodies.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// The progress that a client has to make within its timeout, in bytes.
const PROGRESS: usize = 16 << 10;

/// The time that a client has to send a part of a body: it runs out once the server has waited for `timeout` in total
/// without [`PROGRESS`] in between.
pub(super) struct SendPace {
    timeout: Duration,
    /// The bytes received since the last progress.
    received: usize,
    /// The time left to make progress.
    left: Duration,
}

impl SendPace {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, received: 0, left: timeout }
    }

    /// Waits for the next bytes. Returns `None` if the time has run out.
    pub(super) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let arrived = timeout(self.left, next).await.ok();
        self.left = self.left.saturating_sub(began.elapsed());
        arrived
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes);
        if self.received >= PROGRESS {
            (self.received, self.left) = (0, self.timeout);
        }
    }
}

/// A stream whose writes fail once they have waited for `timeout` in total without [`PROGRESS`] in between.
///
/// Only the time that writes wait for the client counts, so neither a quick client nor an idle connection runs out
/// of it.
pub(super) struct Paced<S> {
    stream: S,
    timeout: Duration,
    /// The bytes written since the last progress.
    written: usize,
    /// The time left to make progress.
    left: Duration,
    waiting: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, timeout: Duration) -> Self {
        let timer = Box::pin(sleep(timeout));
        Self { stream, timeout, written: 0, left: timeout, waiting: None, timer }
    }

    fn pace(&mut self, outcome: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Poll::Ready(outcome) = outcome else {
            if self.waiting.is_none() {
                let now = Instant::now();
                self.waiting = Some(now);
                self.timer.as_mut().reset(now + self.left);
            }
            ready!(self.timer.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        if let Some(since) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        self.written = self.written.saturating_add(*outcome.as_ref().unwrap_or(&0));
        if self.written >= PROGRESS {
            (self.written, self.left) = (0, self.timeout);
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.pace(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.pace(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Writes `size` bytes to a client whose buffer holds 1 KiB.
    fn write(size: usize) -> (DuplexStream, JoinHandle<io::Result<()>>) {
        let (client, server) = duplex(1 << 10);
        let writing =
            tokio::spawn(async move { Paced::new(server, TIMEOUT).write_all(&vec![0; size]).await });
        (client, writing)
    }

    /// Reads `bytes` each `interval` until the server ends the connection; returns how long that took.
    async fn read(mut client: DuplexStream, bytes: usize, interval: Duration) -> Duration {
        let began = Instant::now();
        let mut buffer = vec![0; bytes];
        loop {
            sleep(interval).await;
            match client.read(&mut buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return began.elapsed(),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_dropped() {
        let (_client, writing) = write(1 << 20);
        let began = Instant::now();
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_bytes_are_no_progress() {
        for (bytes, interval) in [(10, 1), (100, 10), (400, 1), (1, 29)] {
            let (client, writing) = write(1 << 20);
            let began = Instant::now();
            tokio::spawn(read(client, bytes, Duration::from_secs(interval)));
            assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut, "{bytes}");
            let took = began.elapsed();
            assert!(took < 2 * TIMEOUT, "{bytes} bytes each {interval} s: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_makes_progress_is_served() {
        let (client, writing) = write(1 << 20);
        let reading = tokio::spawn(read(client, 1 << 10, Duration::from_secs(1)));
        writing.await.unwrap().unwrap();
        assert!(reading.await.unwrap() > 30 * TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_time_of_waiting_writes_counts() {
        let (mut client, server) = duplex(1 << 10);
        let mut server = Paced::new(server, TIMEOUT);
        for _ in 0..100 {
            let reading = async {
                sleep(Duration::from_millis(1)).await;
                client.read_exact(&mut [0; 2 << 10]).await
            };
            tokio::try_join!(server.write_all(&[0; 2 << 10]), reading).unwrap();
            sleep(TIMEOUT).await;
        }
    }
}
