// Files of people: read with care for their size, and drawn as the model will see them.

export const SIDE = 512; // pixels of a preview
const JPEG = 0.92;

export async function dataOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(blob);
  });
}

/** A file as an input. Throws an Error with one sentence where it is too large or of the wrong kind. */
export async function fileInput(file, modality, limits) {
  if (file.size > limits.upload_mb * 1e6) {
    const size = (file.size / 1e6).toFixed(1);
    throw new Error(`${file.name} has ${size} MB; at most ${limits.upload_mb} MB can be sent: choose a smaller file.`);
  }
  const known = modality.suffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix));
  if (modality.kind === "picture") return pictureInput(file, known, limits);
  if (!known) throw new Error(`${modality.name} reads ${modality.suffixes.join(", ")}; ${file.name} is something else.`);
  return { data: await dataOf(file), name: file.name };
}

/** A picture as it is, or drawn anew where it is of another kind than the model reads, or has more pixels than it may. */
async function pictureInput(file, known, limits) {
  const name = file.name || "picture.png";
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    throw new Error(`${name} is no picture that this browser reads: choose a PNG or a JPEG.`);
  }
  const scale = Math.min(1, limits.side / Math.max(picture.width, picture.height));
  if (scale === 1 && known) return { data: await dataOf(file), name };
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.max(1, Math.round(picture.width * scale)),
    height: Math.max(1, Math.round(picture.height * scale)),
  });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return { data: canvas.toDataURL("image/jpeg", JPEG), name: `${name.replace(/\.\w*$/, "")}.jpg` };
}

export async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

/** Draw the centered square of a picture, which is what the model sees. */
export function drawSquare(canvas, image) {
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const side = Math.min(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, canvas.width, canvas.height);
  const [x, y] = [(width - side) / 2, (height - side) / 2];
  context.drawImage(image, x, y, side, side, 0, 0, canvas.width, canvas.height);
}

export function save(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}
