/**
 * Kills a process that adds to a bank, again and again, and looks what is left.
 *
 * After each SIGKILL the bank is opened and verified: everything that the process acknowledged on its stdout is there,
 * nothing is half there, the search finds the same by its index as without. Then the command runs again on the same
 * bank and goes on where it stopped.
 *
 *   npm run test:crash -- --kills 200 [--target add|writer] [--seed text]
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { openBank } from '../../src/bank/sqlite.ts';
import type { DocumentEvent, MemoriesEvent } from '../../src/generate/library.ts';
import { bytesFrom } from './library.ts';

/** What `memory3 add --json` prints when something has been stored, as far as it matters here; other lines are passed over. */
export type Acknowledgement =
  | Pick<DocumentEvent, 'kind' | 'name' | 'documentId' | 'references'>
  | Pick<MemoriesEvent, 'kind' | 'referenceIds'>;

interface Target {
  readonly arguments: (bankPath: string, seed: string) => string[];
  /** Milliseconds within which it is killed: after its start, and after it began to store. */
  readonly starting: number;
  readonly storing: number;
}

const root = path.resolve(import.meta.dirname, '../..');

/** The commands that can be killed: `memory3 add` with the real model, and a writer without one that stores much more. */
export const targets = {
  add: {
    arguments: (bankPath) => [
      path.join(root, 'src/cli/main.ts'),
      'add',
      '--json',
      '--bank',
      bankPath,
      path.join(root, 'assets/library'),
    ],
    starting: 3000,
    storing: 4000,
  },
  writer: {
    arguments: (bankPath, seed) => [path.join(import.meta.dirname, 'writer.ts'), bankPath, seed],
    starting: 500,
    storing: 600,
  },
} as const satisfies Record<string, Target>;

type DocumentLine = Extract<Acknowledgement, { kind: 'document' }>;

export interface KillOptions {
  readonly kills: number;
  readonly seed: string;
  readonly target: keyof typeof targets;
  /** Told after each kill what was found. */
  readonly onKill?: (report: string) => void;
}

/** @throws AssertionError that names the kill if anything acknowledged is missing or anything is half there. */
export async function killAgainAndAgain({ kills, seed, target, onKill }: KillOptions): Promise<void> {
  const { arguments: argumentsOf, starting, storing } = targets[target];
  const folder = mkdtempSync(path.join(tmpdir(), 'memory3-kills-'));
  try {
    const documents = new Map<string, DocumentLine>();
    const memories = new Set<number>();
    let bankNumber = 0;
    for (let kill = 0; kill < kills; ) {
      const bankPath = path.join(folder, `bank-${bankNumber}.memory3`);
      const random = new DataView(bytesFrom(`${seed} ${kill}`, 8).buffer);
      // One in five while it starts, two after it began to store, two after its first memories.
      const moment = random.getUint32(4) / 2 ** 32;
      const phase = random.getUint32(0) % 5;
      const run = await runAndKill(
        argumentsOf(bankPath, `${seed} ${bankNumber}`),
        phase === 0
          ? { afterStart: moment * starting }
          : { afterFirst: phase < 3 ? 'document' : 'memories', milliseconds: moment * storing },
      );
      for (const line of run.lines) {
        if (line.kind === 'document') documents.set(line.name, line);
        else for (const id of line.referenceIds) memories.add(id);
      }
      if (run.killed) kill++;
      if (documents.size > 0) onKill?.(`kill ${kill}: ${checkBank(bankPath, documents, memories)}`);
      if (!run.killed) {
        bankNumber++;
        documents.clear();
        memories.clear();
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Run {
  readonly lines: readonly Acknowledgement[];
  /** False if it ended by itself. */
  readonly killed: boolean;
}

/** Runs the command until the moment in milliseconds has come. */
async function runAndKill(
  arguments_: string[],
  moment:
    | { readonly afterStart: number }
    | { readonly afterFirst: Acknowledgement['kind']; readonly milliseconds: number },
): Promise<Run> {
  const child = spawn(process.execPath, arguments_, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: Acknowledgement[] = [];
  let timer: NodeJS.Timeout | undefined;
  const killIn = (milliseconds: number) => {
    timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
  };
  if ('afterStart' in moment) killIn(moment.afterStart);
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  // A line that the kill cut through has no end and is no acknowledgement.
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const complete = (rest + text).split('\n');
    rest = complete.pop() ?? '';
    for (const line of complete) {
      const value: unknown = JSON.parse(line);
      if (!isAcknowledgement(value)) continue;
      lines.push(value);
      if (timer === undefined && 'afterFirst' in moment && value.kind === moment.afterFirst)
        killIn(moment.milliseconds);
    }
  });
  const { code, signal } = await ended;
  clearTimeout(timer);
  assert.ok(signal === 'SIGKILL' || code === 0, `the command failed with exit code ${code}`);
  return { lines, killed: signal === 'SIGKILL' };
}

function isAcknowledgement(value: unknown): value is Acknowledgement {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return false;
  return value.kind === 'document' || value.kind === 'memories';
}

/** @returns what was found, in words. */
function checkBank(
  bankPath: string,
  acknowledged: ReadonlyMap<string, DocumentLine>,
  memories: ReadonlySet<number>,
): string {
  using bank = openBank(bankPath, { mode: 'read' });
  assert.deepEqual([...bank.verify()], []);
  let replaced = 0;
  for (const { name, documentId, references } of acknowledged.values()) {
    const document = bank.document(name);
    assert.ok(document, `${name} was acknowledged and is missing`);
    // The next content of the same name may have been stored without having been acknowledged.
    if (document.id !== documentId) replaced++;
    else assert.equal(document.references, references, `${name} has lost references`);
  }
  assert.ok(replaced <= 1, `${replaced} documents are not what was acknowledged`);
  // Ids are never used twice: a reference that is not there belonged to content that was replaced.
  const present = [...bank.documents()].flatMap(({ id }) => bank.references(id).map((reference) => reference.id));
  const written = present.filter((id) => memories.has(id));
  for (const id of written) assert.ok(bank.memory(id), `the memory of reference ${id} was acknowledged and is missing`);
  const [first] = present;
  assert.ok(first);
  const query = bank.vector(first);
  using withIndex = openBank(bankPath, { mode: 'read', exactBelow: 0 });
  // References with the same text have the same vector: which of them is found first says nothing.
  const [byIndex] = withIndex.searchVectors(query, 1);
  const [exact] = bank.searchVectors(query, 1);
  assert.ok(byIndex && exact && Math.abs(byIndex.score - exact.score) < 1e-6, 'the index finds something else');
  return `${acknowledged.size} documents and ${written.length} memories acknowledged, all there`;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '20' },
      target: { type: 'string', default: 'add' },
      seed: { type: 'string', default: 'crash' },
    },
  });
  const target = values.target === 'writer' ? 'writer' : 'add';
  await killAgainAndAgain({
    kills: Number(values.kills),
    seed: values.seed,
    target,
    onKill: (report) => console.log(report),
  });
}
