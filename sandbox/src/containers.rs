//! A way in for functions that run in containers: everything here listens on loopback, which is another one inside
//! a container, so the ports that a function needs are relayed from an address that containers reach.
//!
//! Nothing is checked there, as nothing is on loopback: it is for a bridge of this machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// Listens on `port` of `address`; what is returned relays whatever connects there to the same port on loopback, for as
/// long as it is polled.
///
/// # Errors
/// When the port cannot be listened on at that address.
pub(crate) async fn relay(address: IpAddr, port: u16) -> io::Result<impl Future<Output = ()>> {
    let listener = TcpListener::bind((address, port)).await?;
    Ok(async move {
        loop {
            // a connection that was gone before it was taken concerns nobody
            let Ok((outside, _)) = listener.accept().await else { continue };
            tokio::spawn(join(outside, port));
        }
    })
}

async fn join(mut outside: TcpStream, port: u16) -> io::Result<()> {
    let mut inside = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}
