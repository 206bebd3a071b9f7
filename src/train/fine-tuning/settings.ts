/** How a fine-tuning goes; defaults are the paper's (6) but for the batch, which for 512 sequences needs a cluster. */
import { z } from 'zod';

const positive = z.int().positive();

export const loraSchema = z.strictObject({
  rank: z.int().min(1).max(1024).default(16),
  /** Factor on B A. */
  scale: z.number().positive().default(2),
});

/** What both fine-tunings have; null stands for what follows from other things. */
const common = {
  /** Updates; null: as many as the epochs take. */
  steps: positive.nullable().default(null),
  /** Steps, or a share of them below 1, in which the rate rises; behind it the rate falls as a cosine. */
  warmup: z.number().nonnegative().default(0.1),
  /** Weight decay. */
  decay: z.number().nonnegative().default(0.1),
  /** Tokens of a sequence; null: 2048, or what the model can read. */
  length: z.int().min(64).max(32768).nullable().default(null),
  /** Sequences or pairs whose gradients make one step. */
  batch: positive.default(8),
  /** Rounds of a conversation that are kept. */
  rounds: positive.default(8),
  /** Companions of all matrices; null: all weights are trained. */
  lora: loraSchema.nullable().prefault({}),
  /** References that each chunk of 64 tokens sees. */
  references: z.int().min(1).max(64).default(5),
  /** A reference that overlaps more with a sample is refused. */
  maxOverlap: z.number().min(0).max(1).default(0.9),
  /** Computes layers again for the backward pass: a third slower, but references take little memory. */
  recompute: z.boolean().default(true),
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  checkpointEvery: positive.default(50),
  /** Steps between two validations, where there is something to validate with. */
  validateEvery: positive.default(50),
};

export const supervisedSettingsSchema = z.strictObject({
  ...common,
  epochs: z.number().positive().default(3),
  /** The largest learning rate. */
  rate: z.number().positive().default(5e-5),
});

export const preferenceSettingsSchema = z.strictObject({
  ...common,
  epochs: z.number().positive().default(1),
  rate: z.number().positive().default(4e-6),
  /** How strongly the frozen model holds: small lets go. */
  beta: z.number().positive().default(0.01),
});

export type SupervisedSettings = z.input<typeof supervisedSettingsSchema>;
export type PreferenceSettings = z.input<typeof preferenceSettingsSchema>;
/** Of either, with defaults. */
export type FineTuningSettings = Omit<z.output<typeof preferenceSettingsSchema>, 'beta'>;

/** Longest sequence where nobody asks for another. */
export const defaultLength = 2048;
