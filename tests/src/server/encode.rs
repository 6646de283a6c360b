//! Content codings: request bodies undone, response bodies made piece by piece.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

/// Largest request body after decoding, bytes.
const MAX_BODY: u64 = 8 << 20;

/// Undoes the content coding of a request body.
pub(super) fn decode(body: &[u8], coding: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match coding {
        "" | "identity" => out.extend_from_slice(body),
        "gzip" => {
            flate2::read::GzDecoder::new(body).take(MAX_BODY).read_to_end(&mut out)?;
        }
        "zstd" => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(body).context("bad zstd request")?;
            decoder.take(MAX_BODY).read_to_end(&mut out)?;
        }
        other => bail!("request coding {other} is not supported"),
    }
    Ok(out)
}

/// The coding to answer with: `wanted` by the query first, else the best the client accepts.
pub(super) fn choose(wanted: Option<&str>, accepted: &str) -> &'static str {
    let known = ["gzip", "br", "zstd", "deflate"];
    match wanted {
        Some("identity") => "",
        Some("gzip-unlabelled") => "gzip-unlabelled",
        Some(name) => known.into_iter().find(|known| *known == name).unwrap_or(""),
        None => {
            let offers = |name: &str| {
                accepted.split(',').any(|part| part.split(';').next().map(str::trim) == Some(name))
            };
            known.into_iter().find(|name| offers(name)).unwrap_or("")
        }
    }
}

/// Encodes `pieces` so that each can be decoded as soon as it arrives.
pub(super) fn encode(pieces: &[String], coding: &str) -> Result<Vec<Bytes>> {
    match coding {
        "gzip" | "gzip-unlabelled" => {
            let writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            flushed(pieces, writer, |writer| std::mem::take(writer.get_mut()), |writer| Ok(writer.finish()?))
        }
        "deflate" => {
            let writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            flushed(pieces, writer, |writer| std::mem::take(writer.get_mut()), |writer| Ok(writer.finish()?))
        }
        "br" => {
            let writer = brotli::CompressorWriter::new(Vec::new(), 4096, 3, 18);
            flushed(
                pieces,
                writer,
                |writer| std::mem::take(writer.get_mut()),
                |writer| Ok(writer.into_inner()),
            )
        }
        // One frame for each piece: frames may follow one another.
        "zstd" => Ok(pieces
            .iter()
            .map(|piece| {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                Bytes::from(ruzstd::encoding::compress_to_vec(piece.as_bytes(), level))
            })
            .collect()),
        _ => Ok(pieces.iter().map(|piece| Bytes::from(piece.clone())).collect()),
    }
}

fn flushed<W: Write>(
    pieces: &[String],
    mut writer: W,
    take: impl Fn(&mut W) -> Vec<u8>,
    finish: impl FnOnce(W) -> Result<Vec<u8>>,
) -> Result<Vec<Bytes>> {
    let mut out = Vec::with_capacity(pieces.len() + 1);
    for piece in pieces {
        writer.write_all(piece.as_bytes())?;
        writer.flush()?;
        out.push(Bytes::from(take(&mut writer)));
    }
    out.push(Bytes::from(finish(writer)?));
    Ok(out)
}
