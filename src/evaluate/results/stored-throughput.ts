/** Throughput as it is kept with the page (`kept.ts`): `throughput.json`, written after each batch of an engine. */
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { differences, inWords } from '../../differences.ts';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import type { OpenedModel } from '../../generate/workspace.ts';
import { profileIdentity } from '../../memory/choose-profile.ts';
import { readTextFile } from '../../model/binary-file.ts';
import { faultsOf } from '../../model/safetensors.ts';
import { parseStrictJson } from '../../model/strict-json.ts';
import type { Embedder } from '../../retrieval/embedder.ts';
import { measureThroughput, type ThroughputReport } from '../throughput.ts';
import type { ThroughputPart } from './plan.ts';

const format = 'memory3 results throughput 2';
const fileName = 'throughput.json';
const longestFile = 1 << 22;
const natural = z.int().nonnegative();

const rowSchema = z.object({
  batch: natural,
  engine: z.enum(['memory3', 'llama.cpp']),
  mode: z.discriminatedUnion('kind', [
    z.object({ kind: z.enum(['none', 'memory']) }),
    z.object({ kind: z.literal('rag'), references: natural }),
  ]),
  tokensPerSecond: z.number(),
  ratio: z.number(),
  firstTokenMs: z.number(),
  promptTokens: z.number(),
  flops: z.number(),
});

const storedSchema = z.object({
  format: z.literal(format),
  /** What may not be another when it is measured again. */
  measured: z.record(z.string(), z.json()),
  /** False where it was interrupted. */
  complete: z.boolean(),
  machine: z.object({ processor: z.string(), cores: natural, threads: natural }),
  report: z.object({
    model: z.object({ name: z.string(), adapter: z.boolean() }),
    promptTokens: natural,
    newTokens: natural,
    rounds: natural,
    fromDisk: z.boolean(),
    rows: z.array(rowSchema),
  }),
});

export type ThroughputCell = z.output<typeof rowSchema>;
export type StoredThroughput = z.output<typeof storedSchema>;

/** Null where nothing is measured yet. @throws Memory3Error "damaged" */
export function readThroughput(folder: string): StoredThroughput | null {
  const path = join(folder, fileName);
  if (!existsSync(path)) return null;
  const { text, damaged } = readTextFile(path, longestFile, 'Restore it from a copy, or remove it to measure anew.');
  const parsed = storedSchema.safeParse(parseStrictJson(text, damaged));
  if (!parsed.success) throw damaged(faultsOf(parsed.error));
  return parsed.data;
}

export interface ThroughputSubject {
  readonly opened: OpenedModel;
  readonly embedder: Embedder;
  /** 0: every core. */
  readonly threads: number;
}

export interface ThroughputListener {
  readonly onNotice: (message: string) => void;
  /** Something new was measured, and is in the folder. */
  readonly onStored: () => void;
}

/**
 * Measures into the folder what is not measured there.
 * @throws Memory3Error "mismatch" if another model or other sizes were measured; "damaged"; "disk"; what measuring throws
 */
export async function storeThroughput(
  folder: string,
  { batches, references, promptTokens, newTokens, rounds, llamaCpp }: ThroughputPart,
  { opened, embedder, threads }: ThroughputSubject,
  { onNotice, onStored }: ThroughputListener,
): Promise<void> {
  const measured = {
    model: { name: opened.file.name, fingerprint: await opened.file.fingerprint() },
    profile: profileIdentity(opened.profile, opened.model).name,
    sizes: { batches: [...batches], references: [...references], promptTokens, newTokens, rounds },
  };
  const processors = cpus();
  const processor = processors[0]?.model.trim() ?? '';
  const machine = { processor: processor === '' ? 'unknown' : processor, cores: processors.length, threads };
  const stored = readThroughput(folder);
  if (stored !== null) {
    // What is complete may be of any machine; two machines make no table.
    const changed = stored.complete
      ? differences(stored.measured, measured)
      : differences({ ...stored.measured, machine: stored.machine }, { ...measured, machine });
    if (changed.length > 0) {
      throw new Memory3Error('mismatch', `${join(folder, fileName)} was measured otherwise: ${inWords(changed)}.`, {
        remedy: 'Remove that file to measure it anew, or write the page elsewhere (--docs).',
      });
    }
    if (stored.complete) return;
  }
  const store = (report: ThroughputReport, complete: boolean) => {
    const text = `${JSON.stringify({ format, measured, complete, machine, report }, null, 2)}\n`;
    onDisk(folder, () => replaceFile(folder, fileName, text));
    onStored();
  };
  const report = await measureThroughput(opened, embedder, {
    ...{ batches, references, promptTokens, newTokens, rounds, threads, llamaCpp, onNotice },
    ...(stored !== null && { earlier: stored.report.rows }),
    onMeasured: (report) => store(report, false),
  });
  store(report, true);
}
