/**
 * Ways of giving a model references, as `--modes` names them:
 *
 *   none                             no references
 *   rag, rag:3                       as text in the prompt: as many as memories, or so many
 *   memory, memory:3                 as explicit memories
 *   memory:5:kept=8:storage=f16      the same, of another profile than the model's
 *   memory:gold, rag:gold:3          the item's own passage, which its data set has, instead of recalled references
 */
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { type MemoryProfile, memoryProfileSchema } from '../../memory/profile.ts';

/** Most references that one item gets. */
export const mostReferences = 64;

export interface Mode {
  readonly kind: 'none' | 'memory' | 'rag';
  /** As the report calls it; different modes of a run have different names. */
  readonly name: string;
  /** Most references of each item; 0 without. */
  readonly references: number;
  /** Whether they are pieces of the item's own passage, and not recalled. */
  readonly gold: boolean;
  /** What differs from the model's memory profile. */
  readonly profile: Partial<Pick<MemoryProfile, 'keptTokens' | 'storage'>>;
}

const countSchema = z.string().regex(/^\d+$/).transform(Number).pipe(z.int().min(1).max(mostReferences));
const settings = {
  kept: z
    .string()
    .transform((value) => (value === 'all' ? value : Number(value)))
    .pipe(memoryProfileSchema.shape.keptTokens),
  storage: memoryProfileSchema.shape.storage,
} as const;

/** Most references that a mode recalls from the bank; 0 if none needs one. */
export function mostRecalled(modes: readonly Mode[]): number {
  return Math.max(0, ...modes.map(({ references, gold }) => (gold ? 0 : references)));
}

/**
 * Reads one mode.
 * @param memories references where the mode does not say how many
 * @throws Memory3Error "usage"
 * @example parseMode('rag:3', 5) // { kind: 'rag', name: 'rag:3', references: 3, gold: false, profile: {} }
 */
export function parseMode(text: string, memories: number): Mode {
  const [kind = '', ...given] = text.split(':');
  if (kind === 'none' && given.length === 0) return { kind, name: 'none', references: 0, gold: false, profile: {} };
  if (kind !== 'memory' && kind !== 'rag') throw unknown(text);
  const gold = given[0] === 'gold';
  const rest = gold ? given.slice(1) : given;
  const [first] = rest;
  const isCounted = first !== undefined && !first.includes('=');
  const references = isCounted ? checked(countSchema, first, text) : memories;
  const profile: { keptTokens?: MemoryProfile['keptTokens']; storage?: MemoryProfile['storage'] } = {};
  for (const setting of isCounted ? rest.slice(1) : rest) {
    const [key, value = '', ...more] = setting.split('=');
    if (kind !== 'memory' || more.length > 0) throw unknown(text);
    // Each once: of two only one could count.
    if (key === 'kept' && profile.keptTokens === undefined) profile.keptTokens = checked(settings.kept, value, text);
    else if (key === 'storage' && profile.storage === undefined)
      profile.storage = checked(settings.storage, value, text);
    else throw unknown(text);
  }
  const changes = [
    ...(profile.keptTokens === undefined ? [] : [`kept=${profile.keptTokens}`]),
    ...(profile.storage === undefined ? [] : [`storage=${profile.storage}`]),
  ];
  const name = [kind, ...(gold ? ['gold'] : []), references, ...changes].join(':');
  return { kind, name, references, gold, profile };
}

/** Reads a list, "none,memory,rag:3". @throws Memory3Error "usage", also for one that is there twice */
export function parseModes(text: string, memories: number): Mode[] {
  const modes = text.split(',').map((one) => parseMode(one.trim(), memories));
  const twice = modes.find(({ name }, index) => modes.findIndex((other) => other.name === name) !== index);
  if (twice !== undefined) throw new Memory3Error('usage', `The mode ${twice.name} is there twice.`);
  return modes;
}

function checked<T>(schema: z.ZodType<T>, value: string, text: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw unknown(text);
}

function unknown(text: string): Memory3Error {
  return new Memory3Error('usage', `"${text}" is no mode.`, {
    remedy:
      'Modes are none, memory, rag, with a number rag:3, of another profile memory:5:kept=8:storage=f16, and with own passages memory:gold, rag:gold.',
  });
}
