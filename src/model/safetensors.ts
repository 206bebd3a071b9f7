/**
 * A strict reader of safetensors, Hugging Face's file format:
 *
 *   header length u64 | header, JSON | the tensors' bytes
 *   header = { name: { dtype, shape, data_offsets: [begin, end] }, ..., "__metadata__": { string: string } }
 *
 * Offsets count from the end of the header. As the format demands, the tensors fill the rest of the file without gap or
 * overlap. A checkpoint in several files has an index: { weight_map: { tensor: file } }.
 */
import { z } from 'zod';
import { BinaryFile, quoted } from './binary-file.ts';
import type { StoredTensor, TensorFile } from './stored-tensor.ts';
import { parseStrictJson } from './strict-json.ts';

/** A header of 20 000 tensors and more; real ones have some hundreds. */
export const longestHeader: number = 8 * 1024 * 1024;

const bytesPerElement = new Map([
  ['BOOL', 1],
  ['U8', 1],
  ['I8', 1],
  ['F8_E4M3', 1],
  ['F8_E5M2', 1],
  ['F8_E8M0', 1],
  ['U16', 2],
  ['I16', 2],
  ['F16', 2],
  ['BF16', 2],
  ['U32', 4],
  ['I32', 4],
  ['F32', 4],
  ['U64', 8],
  ['I64', 8],
  ['F64', 8],
]);

const natural = z.number().int().nonnegative();
const entrySchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(natural).max(8),
  data_offsets: z.tuple([natural, natural]),
});
const metadataSchema = z.record(z.string(), z.string());

/** An open safetensors file. */
export interface SafetensorsFile extends TensorFile {
  /** The header's "__metadata__"; empty if there is none. */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Opens a safetensors file and reads its header.
 *
 * @param remedy what to do if it is damaged; by default it was fetched
 * @throws Memory3Error "damaged" naming the fault and its tensor; "not-found".
 */
export function openSafetensors(path: string, remedy?: string): SafetensorsFile {
  const file = new BinaryFile(path, remedy);
  try {
    const { header, dataStart } = readHeader(file);
    const tensors = new Map<string, StoredTensor>();
    let metadata: ReadonlyMap<string, string> = new Map();
    for (const [name, entry] of Object.entries(header)) {
      if (name === '__metadata__') metadata = readMetadata(file, entry);
      else tensors.set(name, readEntry(file, name, entry, dataStart));
    }
    checkCoverage(file, [...tensors.values()], dataStart);
    return {
      path,
      tensors,
      metadata,
      readTensor: (tensor) => file.read(tensor.position, tensor.byteLength, `tensor ${quoted(tensor.name)}`),
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

function readHeader(file: BinaryFile): { header: object; dataStart: number } {
  const prefix = new DataView(file.read(0, 8, 'the header length').buffer);
  const length = Number(prefix.getBigUint64(0, true));
  if (length < 2 || length > longestHeader) {
    throw file.damaged(`its header length (at byte 0) is ${length}; 2 to ${longestHeader} are believable`);
  }
  const bytes = file.read(8, length, 'the header');
  if (bytes[0] !== 0x7b) throw file.damaged('its header (at byte 8) does not begin with "{"');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw file.damaged('its header (at byte 8) is not valid UTF-8', cause);
  }
  const header = parseStrictJson(text, (what, cause) => file.damaged(`in its header (at byte 8) ${what}`, cause));
  return { header: header as object, dataStart: 8 + length };
}

function readMetadata(file: BinaryFile, value: unknown): ReadonlyMap<string, string> {
  const parsed = metadataSchema.safeParse(value);
  if (!parsed.success) throw file.damaged('"__metadata__" in its header is not a map of strings');
  return new Map(Object.entries(parsed.data));
}

function readEntry(file: BinaryFile, name: string, value: unknown, dataStart: number): StoredTensor {
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) throw file.damaged(`tensor ${quoted(name)} has a malformed entry: ${faultsOf(parsed.error)}`);
  const { dtype, shape, data_offsets } = parsed.data;
  const [begin, end] = data_offsets;
  const elementBytes = bytesPerElement.get(dtype);
  if (elementBytes === undefined) throw file.damaged(`tensor ${quoted(name)} has the unknown type ${quoted(dtype)}`);
  const expected = shape.reduce((product, length) => product * length, elementBytes);
  if (end - begin !== expected) {
    throw file.damaged(
      `tensor ${quoted(name)} of type ${dtype} and shape [${shape}] needs ${expected} bytes, its offsets hold ${end - begin}`,
    );
  }
  file.checkInside(dataStart + begin, expected, `tensor ${quoted(name)}`);
  return { name, shape, type: dtype, position: dataStart + begin, byteLength: expected };
}

function checkCoverage(file: BinaryFile, tensors: StoredTensor[], dataStart: number): void {
  tensors.sort((a, b) => a.position - b.position || a.byteLength - b.byteLength);
  let end = dataStart;
  for (const { name, position, byteLength } of tensors) {
    if (position < end) throw file.damaged(`tensor ${quoted(name)} overlaps another at byte ${position}`);
    if (position > end) throw file.damaged(`there is a gap before tensor ${quoted(name)}, bytes ${end} to ${position}`);
    end = position + byteLength;
  }
  if (end !== file.size)
    throw file.damaged(`it has ${file.size - end} bytes after its last tensor, from byte ${end} on`);
}

/** zod's complaints in one line. */
export function faultsOf(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => (issue.path.length === 0 ? issue.message : `"${issue.path.join('.')}": ${issue.message}`))
    .join('; ')
    .slice(0, 500);
}
