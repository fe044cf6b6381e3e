//! A wire between clients and a member that can be slow, silent or cut.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// The state of a member's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Nothing passes; connections stay open.
    pub partitioned: bool,
    /// Connections are closed, and new ones too.
    pub refused: bool,
    /// Added to every chunk of bytes, in each direction.
    pub latency: Duration,
}

#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    network: watch::Sender<Network>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (network, state) = watch::channel(Network::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, state));
        Ok(Self { address, network, _tasks: tasks })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn disturb(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, network: watch::Receiver<Network>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { continue };
        if network.borrow().refused {
            continue;
        }
        connections.spawn(connection(client, server, network.clone()));
    }
}

async fn connection(client: TcpStream, server: SocketAddr, mut network: watch::Receiver<Network>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    // A wire adds no delay of its own; where this fails, it is only slower.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let states = (network.clone(), network.clone());
    tokio::select! {
        () = async {
            tokio::join!(pass(from_client, to_server, states.0), pass(from_server, to_client, states.1));
        } => (),
        _ = network.wait_for(|it| it.refused) => (),
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut network: watch::Receiver<Network>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let Ok(latency) = network.wait_for(|it| !it.partitioned).await.map(|it| it.latency) else {
            break;
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            break;
        }
    }
    // The other end may be gone already.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_partition_holds_bytes_back_until_it_heals_and_a_refusal_closes() {
        let relay = Relay::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        let mut byte = [0];
        stream.write_all(b"a").await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"a");

        relay.disturb(Network { partitioned: true, ..Network::default() });
        stream.write_all(b"b").await.unwrap();
        let silent =
            tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut byte)).await;
        assert!(silent.is_err());
        relay.disturb(Network::default());
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"b");

        relay.disturb(Network { refused: true, ..Network::default() });
        assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
        let mut refused = TcpStream::connect(relay.address()).await.unwrap();
        assert!(matches!(refused.read(&mut byte).await, Ok(0) | Err(_)));
    }
}
