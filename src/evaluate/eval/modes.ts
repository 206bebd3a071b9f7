/**
 * Ways of giving a model references, as `--modes` names them:
 *
 *   none                             no references
 *   rag, rag:3                       as text in the prompt: as many as memories, or so many
 *   memory, memory:3                 as explicit memories
 *   memory:5:kept=8:storage=f16      the same, of another profile than the model's
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
  /** References of each item; 0 without. */
  readonly references: number;
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

/**
 * Reads one mode.
 * @param memories references where the mode does not say how many
 * @throws Memory3Error "usage"
 * @example parseMode('rag:3', 5) // { kind: 'rag', name: 'rag:3', references: 3, profile: {} }
 */
export function parseMode(text: string, memories: number): Mode {
  const [kind = '', ...rest] = text.split(':');
  if (kind === 'none' && rest.length === 0) return { kind, name: 'none', references: 0, profile: {} };
  if (kind !== 'memory' && kind !== 'rag') throw unknown(text);
  const [first] = rest;
  const isCounted = first !== undefined && !first.includes('=');
  const references = isCounted ? checked(countSchema, first, text) : memories;
  const profile: { keptTokens?: MemoryProfile['keptTokens']; storage?: MemoryProfile['storage'] } = {};
  for (const setting of isCounted ? rest.slice(1) : rest) {
    const [key, value = ''] = setting.split('=');
    if (kind === 'memory' && key === 'kept') profile.keptTokens = checked(settings.kept, value, text);
    else if (kind === 'memory' && key === 'storage') profile.storage = checked(settings.storage, value, text);
    else throw unknown(text);
  }
  const changes = [
    ...(profile.keptTokens === undefined ? [] : [`kept=${profile.keptTokens}`]),
    ...(profile.storage === undefined ? [] : [`storage=${profile.storage}`]),
  ];
  return { kind, name: [kind, references, ...changes].join(':'), references, profile };
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
    remedy: 'Modes are none, memory, rag, with a number rag:3, and of another profile memory:5:kept=8:storage=f16.',
  });
}
