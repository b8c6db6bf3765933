// Which image format a file has, by its first bytes: browsers know few types by name.

const text = (bytes, from, to) => String.fromCharCode(...bytes.slice(from, to));

const HEIF = ["heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1"];

function ofBox(bytes) {
  if (text(bytes, 4, 8) !== "ftyp") return "";
  const brand = text(bytes, 8, 12);
  if (brand.startsWith("avi")) return "image/avif";
  if (!HEIF.includes(brand)) return "";
  // An AVIF may call itself a mif1 first.
  return text(bytes, 16, 64).includes("avif") ? "image/avif" : "image/heif";
}

const MARKS = [
  [[0x89, 0x50, 0x4e, 0x47], "image/png"],
  [[0xff, 0xd8, 0xff], "image/jpeg"],
  [[0x47, 0x49, 0x46, 0x38], "image/gif"],
  [[0x49, 0x49, 0x2a, 0x00], "image/tiff"],
  [[0x4d, 0x4d, 0x00, 0x2a], "image/tiff"],
  [[0x42, 0x4d], "image/bmp"],
  [[0x00, 0x00, 0x01, 0x00], "image/vnd.microsoft.icon"],
  [[0x00, 0x00, 0x00, 0x0c, 0x6a, 0x50, 0x20, 0x20], "image/jp2"],
  [[0xff, 0x4f, 0xff, 0x51], "image/jp2"],
];

/** The type as uploads are announced; empty for what is no image that we read. */
export async function kindOf(blob) {
  const bytes = new Uint8Array(await blob.slice(0, 64).arrayBuffer());
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 12) === "WEBP") return "image/webp";
  const marked = MARKS.find(([mark]) => mark.every((one, at) => bytes[at] === one));
  return marked ? marked[1] : ofBox(bytes);
}

export function bytesText(count) {
  if (count < 1000) return `${count} bytes`;
  return count < 1e6 ? `${(count / 1000).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}
