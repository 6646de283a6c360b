//! AES-GCM below TLS libraries without symbols.

use super::*;

/// What a file that implements TLS 1.3 has.
pub(super) const LABEL: &[u8] = b"tls13 c ap traffic";

/// A program whose only known part is AES-GCM; `label` makes it one that implements TLS.
fn sealing(label: &[u8]) -> (Vec<u8>, [u64; 2], u64) {
    let mut code = Code::default();
    let (starts, caller) = sealing_code(&mut code, RODATA);
    let rodata = [named(), label.to_vec()].concat();
    (image(&[(".rodata", RODATA, rodata), (".text", TEXT, code.0)]), starts, caller)
}

/// The constants of AES-GCM with AES-NI, and its name.
fn named() -> Vec<u8> {
    [&[0; 0x80], b"AES-NI GCM module for x86_64, CRYPTOGAMS by <appro@openssl.org>\0".as_slice()].concat()
}

/// Its functions, with their constants at an address, and one that calls the first.
fn sealing_code(code: &mut Code, constants: u64) -> ([u64; 2], u64) {
    let starts = [0x120u32, 0x60].map(|limit| {
        let start = code.fill();
        code.put(&[0x48, 0x31, 0xc0, 0x48, 0x81, 0xfa]).put(&limit.to_le_bytes()); // xor rax, rax; cmp rdx, limit
        code.put(&[0x72, 0x07]).lea(0x1d, constants + 0x40).put(&[0xc3]); // jb over the address
        start
    });
    let caller = code.fill();
    code.call(starts[0]).put(&[0x74, 0x01, 0xc3, 0x90, 0xc3]); // two ways to return
    code.fill();
    code.call(starts[1]).put(&[0xc3]);
    code.fill();
    (starts, caller)
}

/// `vmovdqu xmm7, [rip + …]`.
fn load(code: &mut Code, target: u64) {
    let displacement = target.wrapping_sub(code.here() + 8) as u32;
    code.put(&[0xc5, 0xfa, 0x6f, 0x3d]).put(&displacement.to_le_bytes());
}

/// A program with AWS-LC's functions for AVX-512, and where they begin.
pub(super) fn state() -> (Vec<u8>, Vec<u64>) {
    let mut rodata: Vec<u8> =
        (0..=16).flat_map(|bytes| (((1u32 << bytes) - 1) as u16).to_le_bytes()).collect();
    rodata.extend(LABEL);
    let mut code = Code::default();
    let mut starts = Vec::new();
    for _ in 0..2 {
        starts.push(code.fill());
        code.put(&[0xf3, 0x0f, 0x1e, 0xfa, 0x53]); // endbr64; push rbx
        code.put(&[0x8b, 0x87, 0xf0, 0, 0, 0, 0x83, 0xf8, 0x09]); // mov eax, [rdi+240]; cmp eax, 9
        code.put(&[0x74, 0x02, 0x5b, 0xc3]); // je over a return
        code.lea(0x1d, RODATA).put(&[0x5b, 0xc3]);
    }
    let other = code.fill();
    code.lea(0x1d, RODATA).put(&[0xc3]);
    for start in starts.iter().chain([&other]) {
        code.fill();
        code.call(*start).put(&[0xc3]);
    }
    code.fill();
    (image(&[(".rodata", RODATA, rodata), (".text", TEXT, code.0)]), starts)
}

/// A program with ring's functions for AVX2, and where they begin: encrypting, decrypting, hash, counter mode.
pub(super) fn pieces(label: &[u8]) -> (Vec<u8>, Vec<u64>) {
    const AES: u64 = RODATA + 0x100;
    let mut rodata: Vec<u8> = (0..16).rev().collect();
    for word in [1u64, 0xc2 << 56, 1, 0xc2 << 56 | 1, 0, 0, 0, 0, 1, 0, 2, 0, 2, 0] {
        rodata.extend(word.to_le_bytes());
    }
    rodata.resize(0x180, 0);
    rodata.extend(b"AES for Intel AES-NI, CRYPTOGAMS by <appro@openssl.org>\0");
    rodata.extend(label);
    let mut code = Code::default();
    let counter = code.fill();
    code.put(&[0x48, 0x83, 0xfa, 0x01, 0x75, 0x07]); // cmp rdx, 1; jne over the next and a return
    code.put(&[0x8b, 0x91, 0xf0, 0, 0, 0, 0xc3, 0xc3]); // mov edx, [rcx+240]
    let key = code.fill();
    load(&mut code, AES + 0x40);
    code.put(&[0xc3]);
    let init = code.fill();
    load(&mut code, RODATA + 16);
    code.put(&[0xc5, 0xfa, 0x6f, 0x2e, 0xc5, 0xfa, 0x7f, 0x2f, 0xc3]); // from [rsi] to [rdi]
    let hash = code.fill();
    load(&mut code, RODATA + 16);
    code.put(&[0xc5, 0xfa, 0x6f, 0x2f, 0xc4, 0xe2, 0x51, 0x00, 0xee]); // from [rdi]; vpshufb xmm5, xmm5, xmm6
    code.put(&[0xc5, 0xfa, 0x6f, 0x02, 0xc5, 0xfa, 0x6f, 0x4e, 0x70]); // from [rdx] and [rsi+112]
    code.put(&[0xc5, 0xfa, 0x7f, 0x2f, 0xc3]); // to [rdi]
    let mut starts = Vec::new();
    for _ in 0..2 {
        starts.push(code.fill());
        code.put(&[0x41, 0x54, 0x44, 0x8b, 0x91, 0xf0, 0, 0, 0]); // push r12; mov r10d, [rcx+240]
        load(&mut code, RODATA + 64);
        code.put(&[0x48, 0x83, 0xfa, 0x7f, 0x76, 0x00, 0x41, 0x5c, 0xc3]); // cmp rdx, 127
    }
    starts.extend([hash, counter]);
    // As Rust calls C: through pointers, relocated or not.
    let (mut relocations, mut pointers) = (Vec::new(), Vec::new());
    for (index, start) in starts.iter().chain([&key, &init]).enumerate() {
        let slot = OTHER + 8 * index as u64;
        code.fill();
        let displacement = slot.wrapping_sub(code.here() + 6) as u32;
        code.put(&[0xff, 0x15]).put(&displacement.to_le_bytes()).put(&[0xc3]);
        let relocated = index % 2 == 0;
        pointers.extend(if relocated { 0 } else { *start }.to_le_bytes());
        relocations.extend([slot, 8, if relocated { *start } else { 0 }].map(u64::to_le_bytes).concat());
    }
    code.fill();
    let parts = [
        (".rodata", RODATA, rodata),
        (".text", TEXT, code.0),
        (".got", OTHER, pointers),
        (".rela.dyn", OTHER + 0x200, relocations),
    ];
    (image(&parts), starts)
}

/// A program with ChaCha20-Poly1305, and where its functions begin: decrypting, encrypting.
pub(super) fn whole(label: &[u8]) -> (Vec<u8>, [u64; 2]) {
    let mut rodata = b"expand 32-byte kexpand 32-byte k".to_vec();
    rodata.resize(160, 0);
    for word in [0x0fff_fffc_0fff_ffff, 0x0fff_fffc_0fff_fffc, u64::MAX, u64::MAX] {
        rodata.extend(u64::to_le_bytes(word));
    }
    rodata.extend(label);
    let mut code = Code::default();
    let starts = [false, true].map(|seals| {
        let start = code.fill();
        code.put(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55]); // endbr64; push rbp
        if seals {
            code.put(&[0x49, 0x8b, 0x59, 0x38]); // mov rbx, [r9+56]
        }
        load(&mut code, RODATA);
        code.put(&[0xf3, 0x41, 0x0f, 0x6f, 0x21]); // movdqu xmm4, [r9]
        code.put(&[0xf3, 0x45, 0x0f, 0x6f, 0x41, 0x10, 0xf3, 0x45, 0x0f, 0x6f, 0x61, 0x20]); // the next two
        code.put(&[0x5d, 0xc3]); // pop rbp; ret
        start
    });
    let other = code.fill();
    load(&mut code, RODATA);
    code.put(&[0xc3]);
    for start in starts.iter().chain([&other]) {
        code.fill();
        code.call(*start).put(&[0xc3]);
    }
    code.fill();
    (image(&[(".rodata", RODATA, rodata), (".text", TEXT, code.0)]), starts)
}

#[test]
fn chacha20_poly1305_is_read_where_it_returns_and_only_below_tls() {
    let (file, [open, seal]) = whole(LABEL);
    // The push behind endbr64 is the cheaper site.
    assert_eq!(entries(&file), [(Role::Read, open + 4), (Role::Write, seal + 4)]);
    let all = found(&file);
    assert!(all.iter().all(|one| (one.abi, one.library) == (Abi::Poly, Library::ChaCha20Poly1305)));
    assert_eq!(all[0].returns, [open + 5 + 8 + 17 + 1 - BASE]);
    assert_eq!(found(&whole(b"disk encryption").0), []);
}

#[test]
fn aes_gcm_is_read_at_the_returns_of_its_callers_and_only_below_tls() {
    let (file, [seal, open], caller) = sealing(b"tls13 c ap traffic");
    // The comparison leaves the arguments alone: the jump behind it is the cheaper site.
    assert_eq!(entries(&file), [(Role::Write, seal + 10), (Role::Read, open + 10)]);
    let one = &found(&file)[0];
    assert_eq!((one.abi, one.library), (Abi::Aead, Library::AesGcm));
    assert_eq!(one.returns, [caller + 7 - BASE, caller + 9 - BASE]);
    assert_eq!(found(&sealing(b"disk encryption").0), []);
}

#[test]
fn a_second_implementation_of_tls_is_read_below_the_library_that_is_known() {
    let (mut code, [write, read]) = boring_code(Boring { recent: true, relative: false });
    let (starts, _) = sealing_code(&mut code, RODATA + 0x100);
    let file = |labels| {
        let mut rodata = PATH.to_vec();
        rodata.resize(0x100, 0);
        rodata.extend(named());
        rodata.extend(LABEL.repeat(labels));
        image(&[(".rodata", RODATA, rodata), (".text", TEXT, code.0.clone())])
    };
    let library = [(Role::Write, write), (Role::Read, read + 4)];
    let below = [(Role::Write, starts[0] + 10), (Role::Read, starts[1] + 10)];
    assert_eq!(entries(&file(1)), library);
    assert_eq!(entries(&file(2)), [library, below].concat());
}

#[test]
fn aws_lc_for_avx512_is_read_where_its_functions_take_a_key_and_the_masks() {
    let (file, starts) = state();
    // The push behind endbr64 is the cheaper site.
    assert_eq!(entries(&file), [(Role::Write, starts[0] + 4), (Role::Read, starts[1] + 4)]);
    assert!(found(&file).iter().all(|one| one.abi == Abi::AeadState && one.returns.len() == 1));
}

#[test]
fn ring_for_vaes_is_read_by_its_pieces_and_only_below_tls() {
    let (file, starts) = pieces(LABEL);
    let [seal, open, hash, counter] = starts.as_slice() else { panic!("four functions") };
    // The kernel refuses the moves at the beginning of the hash.
    let expected =
        [(Role::Write, *seal), (Role::Read, *open), (Role::Both, hash + 12), (Role::Both, counter + 4)];
    assert_eq!(entries(&file), expected);
    let all = found(&file);
    let abis: Vec<Abi> = all.iter().map(|one| one.abi).collect();
    assert_eq!(abis, [Abi::GcmBlocks, Abi::GcmBlocks, Abi::GcmHash, Abi::Counter]);
    assert_eq!(all[3].returns, [counter + 12 - BASE, counter + 13 - BASE]);
    assert_eq!(found(&pieces(b"disk encryption").0), []);
}
