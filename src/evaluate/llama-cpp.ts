/** llama.cpp beside this project: the same file, the same threads, rounds that alternate (bench/ is a package of its own). */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import type { OpenedModel } from '../generate/workspace.ts';

const benchFolder = fileURLToPath(new URL('../../bench/', import.meta.url));
const roundSchema = z.strictObject({ prefill: z.number().positive(), decode: z.number().positive() });

/** Tokens per second, of all sequences together. */
export type LlamaRound = z.infer<typeof roundSchema>;

/** The command that makes the comparison possible. */
export const llamaInstallCommand = 'npm ci --prefix bench';

export interface LlamaOptions {
  readonly threads: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Read and generated side by side; default 1. */
  readonly sequences?: number;
}

/** Whether llama.cpp reads the model's file. Says why it does not, and in what else it would differ. */
export function canCompare(
  { file, adapter }: Pick<OpenedModel, 'file' | 'adapter'>,
  onNotice: (message: string) => void,
): boolean {
  if (extname(file.path) !== '.gguf') {
    onNotice('llama.cpp is left out: it reads GGUF files only.');
    return false;
  }
  if (adapter !== null)
    onNotice('llama.cpp reads the model file without the adapter; --no-adapter compares the same weights.');
  return true;
}

/** A running llama.cpp that measures a round when asked. */
export class LlamaCpp implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #rounds = 0;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.#child = child;
    this.#lines = lines;
  }

  /** @returns null if the package is not installed in bench/. */
  static async start(modelPath: string, options: LlamaOptions): Promise<LlamaCpp | null> {
    if (!existsSync(`${benchFolder}node_modules/node-llama-cpp`)) return null;
    const { threads, promptTokens, newTokens, sequences = 1 } = options;
    const numbers = [threads, promptTokens, newTokens, sequences].map(String);
    const child = spawn(process.execPath, [`${benchFolder}llama.ts`, modelPath, ...numbers], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const llama = new LlamaCpp(child, lines);
    await llama.#line();
    return llama;
  }

  /** Reads a prompt and generates, with an empty context. */
  async round(): Promise<LlamaRound> {
    this.#child.stdin?.write(`${this.#rounds++}\n`);
    return roundSchema.parse(JSON.parse(await this.#line()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    // One that crashed has no exit code, and ends no second time.
    const ended = exitCode === null && signalCode === null ? once(this.#child, 'exit') : undefined;
    this.#child.stdin?.end();
    await ended;
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Memory3Error('unsupported', 'llama.cpp ended without a result; its own message is above.');
    return value;
  }
}
