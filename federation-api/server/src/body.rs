//! Bodies of requests and answers.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream::BoxStream};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::status::ApiError;

/// The largest body of a request, as upstream: 3 MiB.
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Any error of a transport.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub enum ResponseBody {
    /// All of it.
    Full(Bytes),
    /// A watch.
    Stream(BoxStream<'static, Bytes>),
}

impl ResponseBody {
    /// No body.
    pub fn empty() -> Self {
        Self::Full(Bytes::new())
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Full(bytes.into())
    }
}

impl From<String> for ResponseBody {
    fn from(text: String) -> Self {
        Self::Full(text.into())
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => Pin::new(stream)
                .poll_next(context)
                .map(|next| next.map(|chunk| Ok(Frame::data(chunk)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Reads a request's body, refusing more than [`BODY_LIMIT`].
pub(crate) async fn read<B>(mut body: Pin<Box<B>>) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(ApiError::too_large(BODY_LIMIT));
    }
    let mut first: Option<Bytes> = None;
    let mut more: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::bad_request(format!("the body could not be read: {}", error.into()))
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        // The usual body is one frame and is not copied.
        let length = match (&mut first, &mut more) {
            (_, Some(more)) => {
                more.extend_from_slice(&chunk);
                more.len()
            }
            (Some(head), None) => {
                let mut joined = BytesMut::with_capacity(head.len() + chunk.len());
                joined.extend_from_slice(head);
                joined.extend_from_slice(&chunk);
                let length = joined.len();
                more = Some(joined);
                length
            }
            (None, None) => {
                let length = chunk.len();
                first = Some(chunk);
                length
            }
        };
        if length > BODY_LIMIT {
            return Err(ApiError::too_large(BODY_LIMIT));
        }
    }
    Ok(more.map(BytesMut::freeze).or(first).unwrap_or_default())
}
