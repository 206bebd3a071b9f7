/** The tiny random models of test/golden/families, with Hugging Face's logits. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ModelSource } from '../../src/memory/model.ts';
import { type ModelFile, openModelFile } from '../../src/model/open.ts';
import type { Weights, WeightTensor } from '../../src/model/weights.ts';

export interface FamilyCase {
  readonly ids: readonly number[];
  /** Position of the first row of logits. */
  readonly first: number;
  readonly logits: readonly (readonly number[])[];
}

const folder = (family: string) => fileURLToPath(new URL(`../golden/families/${family}`, import.meta.url));

export function openFamily(family: string): Promise<ModelFile> {
  return openModelFile(folder(family));
}

export function familyCases(family: string): readonly FamilyCase[] {
  return (JSON.parse(readFileSync(`${folder(family)}/logits.json`, 'utf8')) as { cases: FamilyCase[] }).cases;
}

/** The same model with every weight read once and held: the plain transformer asks for them at every token. */
export function heldInMemory({ config, weights }: ModelSource): ModelSource {
  const held = new Map<string, WeightTensor>();
  const get = (name: string): WeightTensor => {
    const tensor = held.get(name) ?? weights.get(name);
    held.set(name, tensor);
    return tensor;
  };
  return { config, weights: { names: weights.names, has: (name) => weights.has(name), get } satisfies Weights };
}
