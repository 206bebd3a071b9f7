/** What throughput is measured with: questions of a given length, and a bank large enough that no memory is used twice. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MemoryBank, NewReference, StoredReference } from '../bank/bank.ts';
import { openBank } from '../bank/sqlite.ts';
import { Memory3Error } from '../errors.ts';
import { referencesAsText } from '../generate/prompt.ts';
import { identityOf, type OpenedModel } from '../generate/workspace.ts';
import { writeMemories } from '../memory/writer.ts';
import type { Embedder } from '../retrieval/embedder.ts';
import { search } from '../retrieval/search.ts';
import { fullReferences, libraryTexts } from './speed-material.ts';

/** Memories that are computed; the bank's others hold the same bytes, as what they say does not change the time. */
const writtenMemories = 16;
/** Characters that each document of the bank begins later than the one before it, so that no two are the same. */
const shift = 97;

/** One sequence of a batch. */
export interface ThroughputText {
  /** Document start and text, `promptTokens` ids. */
  readonly prompt: readonly number[];
  /** `newTokens` ids that follow; decoded instead of the model's own words, so that every round does the same work. */
  readonly continuation: readonly number[];
}

export interface ThroughputMaterial extends Disposable {
  readonly texts: readonly ThroughputText[];
  /** Another one after each `forget`. */
  readonly bank: MemoryBank;
  /** Tokens of a reference as text in front of a question, mean of the bank. */
  readonly referenceTextTokens: number;
  /**
   * Embeds the queries together and searches for each; then every hit is replaced by a reference that has not been used
   * since the last `forget`, so that no two loads are of the same row.
   * @returns `count` references for each query
   */
  find(queries: readonly string[], count: number): Promise<StoredReference[][]>;
  /**
   * All references are unused again, and what is in RAM of the bank's file is dropped: the bank's own pages, as it is opened
   * again, and the system's copy.
   * @returns false if the system has no way to drop its copy: the file may then be read from RAM.
   */
  forget(): boolean;
}

export interface ThroughputSizes {
  /** Sequences of the largest batch. */
  readonly sequences: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** References that a sequence finds at most. */
  readonly references: number;
}

/** Prepares texts, and a bank in a temporary folder that is deleted when the material is disposed of. */
export async function throughputMaterial(
  opened: OpenedModel,
  embedder: Embedder,
  sizes: ThroughputSizes,
): Promise<ThroughputMaterial> {
  using building = new DisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'memory3-throughput-'));
  building.defer(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'bank.memory3');
  const identity = await identityOf(opened, embedder);
  const wanted = sizes.sequences * sizes.references;
  {
    using bank = openBank(path, { mode: 'write', identity });
    await fillBank(bank, opened, embedder, wanted);
    bank.prepareSearch();
  }
  const reopen = () => {
    const reader = openBank(path, { mode: 'read', identity });
    reader.prepareSearch();
    return reader;
  };
  // Opened again: what was written has gone from the log to the file.
  let bank = reopen();
  building.defer(() => bank[Symbol.dispose]());
  const references = [...bank.documents()].flatMap(({ id }) => bank.references(id));
  const textTokens = references.map(({ text }) => opened.tokenizer.encode(referencesAsText([text])).length);
  let used = 0;
  const resources = building.move();
  return {
    texts: throughputTexts(opened, sizes),
    get bank() {
      return bank;
    },
    referenceTextTokens: textTokens.reduce((sum, count) => sum + count, 0) / textTokens.length,
    async find(queries, count) {
      const vectors = await embedder.embedQueries(queries);
      return queries.map((text, index) => {
        const hits = search(bank, { text, vector: vectors[index] as Float32Array }, { count });
        return hits.map(() => {
          const next = references[used++];
          if (next === undefined) throw new Error(`a bank of ${references.length} references is too small`);
          return bank.reference(next.id);
        });
      });
    },
    forget() {
      used = 0;
      bank[Symbol.dispose]();
      bank = reopen();
      return dropFromRam(path);
    },
    [Symbol.dispose]: () => resources.dispose(),
  };
}

/** Texts that begin at places spread over the library. */
function throughputTexts({ tokenizer }: OpenedModel, sizes: ThroughputSizes): ThroughputText[] {
  const library = tokenizer.encode(libraryTexts().join('\n\n'));
  const { sequences, promptTokens, newTokens } = sizes;
  const length = promptTokens + newTokens;
  if (length > library.length) {
    throw new Memory3Error('usage', `The texts have ${library.length} tokens, fewer than ${length} in and out.`);
  }
  return Array.from({ length: sequences }, (_, sequence) => {
    const start = Math.floor((sequence * (library.length - length)) / sequences);
    const tokens = library.slice(start, start + length);
    return {
      prompt: [tokenizer.bosTokenId, ...tokens.slice(0, promptTokens - 1)],
      continuation: tokens.slice(promptTokens - 1, -1),
    };
  });
}

/** Puts documents until there are as many references as wanted, and a memory to each. */
async function fillBank(bank: MemoryBank, opened: OpenedModel, embedder: Embedder, wanted: number): Promise<void> {
  const { model, profile, repeatPrompt } = opened;
  const library = libraryTexts().join('\n\n');
  const vectors = new Map<string, Float32Array>();
  for (let left = wanted, number = 0; left > 0; number++) {
    const text = library.slice(number * shift);
    const chunks = fullReferences(text, opened).take(left).toArray();
    if (chunks.length === 0) throw new Memory3Error('usage', `The texts are too short for ${wanted} references.`);
    // Cuts fall on the same sentences again: most texts have been embedded before.
    const unknown = [...new Set(chunks.map((chunk) => chunk.text))].filter((one) => !vectors.has(one));
    for (const [index, vector] of (await embedder.embedPassages(unknown)).entries()) {
      vectors.set(unknown[index] as string, vector);
    }
    const references = chunks.map(
      (chunk): NewReference => ({ ...chunk, vector: vectors.get(chunk.text) as Float32Array }),
    );
    bank.putDocument({ name: `library ${number}`, title: null, mediaType: 'text/plain', text, references });
    left -= references.length;
  }
  const ids = [...bank.coldReferences()];
  const written = await writeMemories(
    model,
    profile,
    ids.slice(0, writtenMemories).map((id) => bank.reference(id)),
    repeatPrompt,
  );
  bank.putMemories(ids.map((id, index) => ({ referenceId: id, bytes: written[index % written.length] as Uint8Array })));
}

/** Magic numbers of Linux's file systems that are nothing but RAM: tmpfs and ramfs. */
const ramFileSystems = [0x01021994, 0x858458f6];

/** GNU dd asks the system to drop a file's pages; others do not know the flag. */
function dropFromRam(path: string): boolean {
  if (process.platform === 'linux' && ramFileSystems.includes(statfsSync(path).type)) return false;
  const { status } = spawnSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
  return status === 0;
}
