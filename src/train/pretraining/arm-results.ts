/**
 * What came of each arm of the experiment (`experiment.ts`), as a file of its own, `<arm>-<seed>.json`: written when the arm
 * is finished, with all that decides it. Whoever has these files has the experiment's result without its runs.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { differences, inWords } from '../../differences.ts';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import { readTextFile } from '../../model/binary-file.ts';
import { faultsOf } from '../../model/safetensors.ts';
import { parseStrictJson } from '../../model/strict-json.ts';

/** The arms, and whether their stages have memories. */
export const arms = {
  'two-stages': { size: 'small', memories: [false, true] },
  'no-memories': { size: 'small', memories: [false, false] },
  'from-the-start': { size: 'small', memories: [true, true] },
  double: { size: 'double', memories: [false, false] },
} as const;
export type ArmName = keyof typeof arms;
export const armNames = Object.keys(arms) as [ArmName, ...ArmName[]];

const format = 'memory3 experiment arm 1';
/** Bytes, and so entries: a long experiment has several of each step. */
const longestFile = 1 << 24;
const natural = z.int().nonnegative();

const armSchema = z.strictObject({
  arm: z.enum(armNames),
  seed: z.int(),
  /** Nats per token of the finished model. */
  plain: z.number(),
  memory: z.number(),
  /** Of all validation sequences, for comparison in pairs. */
  sequences: z.strictObject({ plain: z.array(z.number()), memory: z.array(z.number()) }),
  /**
   * Validation losses as it was trained, with memories where the stage had them, which says whether memories count. Steps
   * are of both stages together.
   */
  validation: z.array(z.strictObject({ step: natural, loss: z.number() })),
  /** Steps of each stage. */
  steps: z.array(z.array(z.strictObject({ step: natural, loss: z.number(), rate: z.number() }))),
  /** Seconds and tokens of each stage, references included. */
  cost: z.array(z.strictObject({ seconds: z.number(), tokens: natural })),
});
export type ArmResult = z.output<typeof armSchema>;

const storedSchema = z.strictObject({
  format: z.literal(format),
  /** What decides the result. */
  trained: z.record(z.string(), z.json()),
  result: armSchema,
});
/** JSON: all that decides an arm's result. */
export type ArmConditions = z.output<typeof storedSchema>['trained'];

/**
 * The result of an arm, or null if it is not there.
 * @throws Memory3Error "damaged"; "mismatch" if it came of other conditions
 */
export function readArm(folder: string, arm: ArmName, seed: number, conditions: ArmConditions): ArmResult | null {
  const path = join(folder, fileName(arm, seed));
  if (!existsSync(path)) return null;
  const { text, damaged } = readTextFile(
    path,
    longestFile,
    'Restore it from a copy, or remove it to train the arm anew.',
  );
  const parsed = storedSchema.safeParse(parseStrictJson(text, damaged, longestFile));
  if (!parsed.success) throw damaged(faultsOf(parsed.error));
  const { trained, result } = parsed.data;
  const changed = differences(trained, conditions);
  if (changed.length === 0 && result.arm === arm && result.seed === seed) return result;
  throw new Memory3Error('mismatch', `${path} came of something else: ${inWords(changed) || 'another arm or seed'}.`, {
    remedy: 'Keep the results in another folder, or remove that file to train the arm anew.',
  });
}

/** @throws Memory3Error "disk" */
export function storeArm(folder: string, result: ArmResult, conditions: ArmConditions): void {
  const stored: z.input<typeof storedSchema> = { format, trained: conditions, result };
  onDisk(folder, () => {
    mkdirSync(folder, { recursive: true });
    replaceFile(folder, fileName(result.arm, result.seed), `${JSON.stringify(stored)}\n`);
  });
}

function fileName(arm: ArmName, seed: number): string {
  return `${arm}-${seed}.json`;
}
