//! A registry on a free port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use oci_proto::server::Storage;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::server::options::Options;
use crate::server::registry::SharedRegistry;

/// A registry on a free port of the loopback interface, for tests. It ends when the value is dropped.
#[derive(Debug)]
pub struct LocalRegistry {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
}

impl<S: Storage + Clone + Send + 'static> SharedRegistry<S> {
    /// Serves the registry on a free port of 127.0.0.1, in a task of the current runtime.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub async fn listen(&self) -> io::Result<LocalRegistry> {
        self.listen_with(Options::default()).await
    }

    /// Serves the registry like [`listen`](Self::listen), with these options.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub async fn listen_with(&self, options: Options) -> io::Result<LocalRegistry> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let registry = self.clone();
        let task = tokio::spawn(async move { registry.serve(listener, options, stopped).await });
        Ok(LocalRegistry { address, stop: Some(stop), task })
    }
}

impl LocalRegistry {
    /// Returns the address, which is also the name of the registry in references.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the registry, after the requests in progress.
    ///
    /// # Errors
    /// Those of [`SharedRegistry::serve`].
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection at once.
    pub async fn stop(mut self) -> io::Result<()> {
        drop(self.stop.take());
        (&mut self.task).await.map_err(io::Error::other)?
    }
}

impl Drop for LocalRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}
