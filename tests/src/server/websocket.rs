//! WebSockets of OpenAI's Responses and Realtime (RFC 6455, RFC 7692): each `response.create` is answered.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use hyper::{HeaderMap, Response, header, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{answer::COMPLETION, body::Pieces, http::State, openai, truth::Truth, usage::Counts};

/// What is hashed with the client's key (RFC 6455 section 1.3).
const ACCEPT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Largest message accepted, bytes.
const MAX_MESSAGE: usize = 4 << 20;
/// What a sender leaves off the end of a compressed message.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Both directions of one WebSocket.
struct Socket<S> {
    stream: S,
    inflate: Decompress,
    /// Absent: messages are not compressed.
    deflate: Option<Compress>,
}

/// Whether the request asks for a WebSocket.
pub(super) fn asked(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers the request that asked for it, and every turn after that. `truth` holds what all turns have in common.
pub(super) fn accept(
    state: Arc<State>,
    truth: Truth,
    headers: &HeaderMap,
    upgrade: OnUpgrade,
) -> Result<Response<Pieces>> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).context("the request has no key")?;
    let hash = Sha1::new().chain_update(key).chain_update(ACCEPT).finalize();
    let offered = headers.get(header::SEC_WEBSOCKET_EXTENSIONS).and_then(|value| value.to_str().ok());
    let compressed = offered.is_some_and(|offered| offered.contains("permessage-deflate"));
    let mut response = Response::builder()
        .status(101)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, data_encoding::BASE64.encode(&hash));
    if compressed {
        response = response.header(header::SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate");
    }
    tokio::spawn(async move {
        if let Err(error) = session(&state, &truth, upgrade, compressed).await {
            eprintln!("WebSocket of port {}: {error:#}", truth.source_port);
        }
    });
    Ok(response.body(Pieces::new(Vec::new(), true))?)
}

async fn session(state: &State, common: &Truth, upgrade: OnUpgrade, compressed: bool) -> Result<()> {
    let mut socket = Socket {
        stream: TokioIo::new(upgrade.await?),
        inflate: Decompress::new(false),
        deflate: compressed.then(|| Compress::new(Compression::fast(), false)),
    };
    let realtime = common.path.ends_with("/realtime");
    if realtime {
        socket
            .send(&json!({"type": "session.created", "session": {"model": common.model}}).to_string())
            .await?;
    }
    while let Some(message) = socket.receive().await? {
        let message: Value = serde_json::from_slice(&message)?;
        if message["type"] != "response.create" {
            continue;
        }
        let number = state.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let counts = Counts::of_request(number);
        let mut truth = Truth {
            request_id: format!("resp_{:x}_{number:06}", std::process::id()),
            received_ns: u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?,
            status: 101,
            stream: true,
            ..common.clone()
        };
        if let Some(model) = message["model"].as_str() {
            truth.model = Some(model.to_owned());
        }
        let events = if realtime {
            realtime_events(&mut truth, &counts)
        } else {
            truth.model_served = truth.model.as_ref().map(|model| format!("{model}-2026-01-15"));
            let id = truth.request_id.clone();
            let pieces = openai::responses(&mut truth, &counts, &id).pieces;
            pieces
                .iter()
                .filter_map(|piece| Some(piece.split_once("data: ")?.1.trim_end().to_owned()))
                .collect()
        };
        state.log.add(&truth)?;
        for event in events {
            socket.send(&event).await?;
        }
    }
    Ok(())
}

fn realtime_events(truth: &mut Truth, counts: &Counts) -> Vec<String> {
    (truth.input_tokens, truth.output_tokens) = (Some(counts.input), Some(counts.output));
    truth.cache_read = Some(counts.cache_read);
    let usage = json!({
        "input_tokens": counts.input, "output_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
        "input_token_details": {"cached_tokens": counts.cache_read},
    });
    let id = &truth.request_id;
    vec![
        json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}}).to_string(),
        json!({"type": "response.output_text.delta", "delta": COMPLETION}).to_string(),
        json!({"type": "response.done", "response": {"id": id, "status": "completed", "usage": usage}})
            .to_string(),
    ]
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The next message; `None` when the client closes.
    async fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        let mut compressed = false;
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).await?;
            let length = match head[1] & 0x7f {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                length => u64::from(length),
            };
            let length = usize::try_from(length)?;
            if length + message.len() > MAX_MESSAGE {
                bail!("the message is too large");
            }
            let mut mask = [0; 4];
            self.stream.read_exact(&mut mask).await?;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await?;
            payload.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            match head[0] & 0x0f {
                8 => {
                    self.frame(0x88, &payload).await?;
                    return Ok(None);
                }
                9 => self.frame(0x8a, &payload).await?,
                10 => {}
                opcode => {
                    compressed |= opcode != 0 && head[0] & 0x40 != 0;
                    message.extend(payload);
                    if head[0] & 0x80 != 0 {
                        return if compressed {
                            self.inflated(&message).map(Some)
                        } else {
                            Ok(Some(message))
                        };
                    }
                }
            }
        }
    }

    fn inflated(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        let message = [message, &TAIL].concat();
        let mut out = Vec::with_capacity(MAX_MESSAGE);
        self.inflate.decompress_vec(&message, &mut out, FlushDecompress::Sync)?;
        Ok(out)
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        let Some(deflate) = &mut self.deflate else { return self.frame(0x81, text.as_bytes()).await };
        let mut out = Vec::with_capacity(text.len() + 64);
        deflate.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync)?;
        out.truncate(out.len().saturating_sub(TAIL.len()));
        self.frame(0xc1, &out).await
    }

    async fn frame(&mut self, first: u8, payload: &[u8]) -> Result<()> {
        let mut frame = vec![first];
        match u16::try_from(payload.len()) {
            Ok(length) if length < 126 => frame.push(length as u8),
            Ok(length) => {
                frame.push(126);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => {
                frame.push(127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        self.stream.write_all(&frame).await?;
        Ok(self.stream.flush().await?)
    }
}
