/** Fetching one file from Hugging Face, or from the mirror that `HF_ENDPOINT` names. */
import { downloadFile, fileDownloadInfo, HubApiError } from '@huggingface/hub';
import { Memory3Error, rootMessage } from '../errors.ts';
import type { HuggingFaceSource } from './catalogue.ts';
import type { Environment } from './home.ts';
import { placeFile } from './place.ts';

/** Longest wait for the first answer. */
const connectMs = 5_000;
/** Longest wait for the next bytes of a download that has begun. */
const stallMs = 30_000;

export interface HuggingFaceFetch {
  /** What the file is called in messages. */
  readonly name: string;
  readonly sha256?: string | undefined;
  readonly bytes?: number | undefined;
  readonly env: Environment;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Streams a repository's file to `target`.
 *
 * Where the server says what it is about to send (size, and the sha256 of files in large-file storage), wrong bytes are
 * refused before they are downloaded.
 *
 * @throws Memory3Error "network", "not-found", "damaged", "disk".
 */
export async function fetchFromHuggingFace(
  source: HuggingFaceSource,
  target: string,
  options: HuggingFaceFetch,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const endpoint = huggingFaceEndpoint(options.env);
  using patience = new Patience(options.signal);
  const accessToken = options.env.HF_TOKEN;
  const request = {
    repo: { type: 'model' as const, name: source.repository },
    path: source.path,
    revision: source.revision,
    hubUrl: endpoint,
    fetch: (input: string | URL | Request, init?: RequestInit) => fetch(input, { ...init, signal: patience.signal }),
    // Plain HTTP rather than the chunked protocol: one stream, one code path, whatever server answers.
    xet: false,
    ...(accessToken ? { accessToken } : {}),
  };
  const where = `${source.repository}/${source.path}`;
  try {
    patience.expect(connectMs, `no answer within ${connectMs / 1000} s`);
    const info = await fileDownloadInfo(request);
    if (info === null) {
      throw new Memory3Error('not-found', `${endpoint} has no file ${where} at revision ${source.revision}.`);
    }
    const announced = announcedSha256(info.etag);
    if (options.bytes !== undefined && info.size !== options.bytes) {
      throw new Memory3Error('damaged', `${where} has ${info.size} bytes there, expected ${options.bytes}.`);
    }
    if (options.sha256 !== undefined && announced !== undefined && announced !== options.sha256) {
      throw new Memory3Error('damaged', `${where} has sha256 ${announced} there, expected ${options.sha256}.`);
    }
    patience.expect(stallMs, `no data for ${stallMs / 1000} s`);
    const file = await downloadFile({ ...request, downloadInfo: info });
    if (file === null) throw new Memory3Error('not-found', `${endpoint} has no file ${where}.`);
    return await placeFile(target, patience.watch(file.stream(), stallMs), {
      name: options.name,
      sha256: options.sha256 ?? announced,
      bytes: info.size,
      onProgress: (done) => options.onProgress?.(done, info.size),
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error instanceof Memory3Error ? error : networkError(endpoint, where, patience.complaint, error);
  }
}

/** @throws Memory3Error "usage" if `HF_ENDPOINT` is no URL. */
export function huggingFaceEndpoint(env: Environment): string {
  const given = env.HF_ENDPOINT || 'https://huggingface.co';
  if (!/^https?:$/.test(URL.parse(given)?.protocol ?? '')) {
    throw new Memory3Error('usage', `HF_ENDPOINT is "${given}", which is no http(s) address.`);
  }
  return given.replace(/\/+$/, '');
}

/** The entity tag of a file in large-file storage is its sha256; that of a small file is a git hash, which is shorter. */
function announcedSha256(etag: string): string | undefined {
  return /^"?([0-9a-f]{64})"?$/.exec(etag)?.[1];
}

function networkError(endpoint: string, where: string, complaint: string | undefined, error: unknown): Memory3Error {
  if (error instanceof HubApiError) {
    const refused = error.statusCode === 401 || error.statusCode === 403;
    return new Memory3Error(
      error.statusCode === 404 ? 'not-found' : 'network',
      `${endpoint} answered ${error.statusCode} for ${where}.`,
      refused ? { remedy: 'The repository may be private or gated: set HF_TOKEN.', cause: error } : { cause: error },
    );
  }
  const why = complaint ?? rootMessage(error);
  return new Memory3Error('network', `${where} could not be fetched from ${endpoint}: ${why}.`, { cause: error });
}

/** Aborts a request when what was expected does not come in time. */
class Patience implements Disposable {
  readonly signal: AbortSignal;
  /** Why it ran out, once it has. */
  complaint: string | undefined;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.signal = signal ? AbortSignal.any([signal, this.#controller.signal]) : this.#controller.signal;
  }

  /** Starts to wait anew. */
  expect(milliseconds: number, complaint: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.complaint = complaint;
      this.#controller.abort(new Error(complaint));
    }, milliseconds);
  }

  /** Passes a stream on, waiting anew for each of its chunks. */
  async *watch(stream: ReadableStream<Uint8Array>, milliseconds: number): AsyncIterable<Uint8Array> {
    for await (const chunk of stream) {
      yield chunk;
      this.expect(milliseconds, `no data for ${milliseconds / 1000} s`);
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
