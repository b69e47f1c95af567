//! Known files that are not decoded, and what to do with them.

/// The message for a camera's raw file, however it is detected.
pub(super) const RAW: &str = "a camera raw file, which holds the sensor's values: develop it \
                              first (for example with darktable or RawTherapee) and save a TIFF \
                              of 16 bits";

/// Known files that are not decoded: the offset of their signature, the signature, and the message.
const REFUSED: [(usize, &[u8], &str); 44] = [
    (8, b"CR\x02\0", RAW),
    (4, b"ftypcrx ", RAW),
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"IIU\0", RAW),
    (0, b"IIRO", RAW),
    (0, b"IIRS", RAW),
    (0, b"MMOR", RAW),
    (0, b"FOVb", RAW),
    (0, b"\0MRM", RAW),
    (4, b"ftypheic", HEIC),
    (4, b"ftypheix", HEIC),
    (4, b"ftypheim", HEIC),
    (4, b"ftypheis", HEIC),
    (4, b"ftyphevc", HEIC),
    (4, b"ftypmif1", HEIC),
    (4, b"ftypmsf1", HEIC),
    (4, b"ftypavif", "an AVIF image: convert it to PNG first (for example with `avifdec`)"),
    (4, b"ftypavis", "an AVIF sequence: convert it to PNG first (for example with `avifdec`)"),
    (
        4,
        b"ftyp",
        "a video (MP4 or QuickTime): take images out of it first (for example with `ffmpeg`)",
    ),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM): take images out of it first"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", JP2),
    (0, b"\xff\x4f\xff\x51", JP2),
    (0, b"%PDF", "a PDF document: draw its pages first (for example with `pdftoppm -png`)"),
    (0, b"%!PS", "a PostScript document: draw it first (for example with Ghostscript)"),
    (0, b"8BPS", "a Photoshop document (PSD): save it as TIFF or PNG first"),
    (0, b"gimp xcf", "a GIMP document (XCF): export it as TIFF or PNG first"),
    (0, b"#?RADIANCE", "a Radiance HDR image: convert it to a TIFF of 32-bit float values first"),
    (0, b"\x93NUMPY", "a NumPy array (.npy): write it as TIFF first (`tifffile.imwrite`)"),
    (0, b"PK\x03\x04", "a ZIP archive (or NumPy's .npz, or an office document): unpack it first"),
    (0, b"Rar!", "a RAR archive: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (0, b"\x1f\x8b", "a gzipped file: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"PAR1", "a Parquet file: write its images as files first"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (or MATLAB's .mat): write its arrays as TIFF first"),
    (0, b"MATLAB 5.0", "a MATLAB file (.mat): write its arrays as TIFF first"),
    (0, b"SIMPLE  =", "a FITS image: convert it to a TIFF of 32-bit float values first"),
    (128, b"DICM", "a DICOM file: convert it to TIFF first (for example with `dcm2pnm`)"),
    (
        0,
        b"\x80\x02",
        "a pickled Python object (perhaps of PyTorch): write its images as files first",
    ),
    (0, b"\x80\x04", "a pickled Python object: write its images as files first"),
    (0, b"AT&TFORM", "a DjVu document: draw its pages first"),
    (0, b"II\xbc", "a JPEG XR image: convert it to PNG first"),
    (
        0,
        b"version https://git-lfs",
        "a pointer to a file of Git LFS: fetch it first (`git lfs pull`)",
    ),
    (0, b"BPG\xfb", "a BPG image: convert it to PNG first"),
];
const HEIC: &str = "a HEIC/HEIF image, as phones take them: convert it to JPEG or PNG first (for \
                    example with `heif-convert`), or let the phone save JPEG";
const JP2: &str =
    "a JPEG 2000 image: convert it to PNG or TIFF first (for example with `opj_decompress`)";

/// The name of a known file that is not decoded, and what to do with it.
pub(super) fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let is = |(at, mark, _): &&(usize, &[u8], &str)| {
        bytes.get(*at..).is_some_and(|b| b.starts_with(mark))
    };
    if let Some((_, _, name)) = REFUSED.iter().find(is) {
        return Some(name);
    }
    // Texts: a byte order mark and white space may come first.
    let begin = &bytes[..bytes.len().min(1024)];
    let text = String::from_utf8_lossy(begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin))
        .to_lowercase();
    let text = text.trim_start();
    if text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg")) {
        Some("an SVG drawing: draw it first (for example with `rsvg-convert`)")
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        Some("a web page: perhaps an error page that was saved under an image's name")
    } else {
        None
    }
}
