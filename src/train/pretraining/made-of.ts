/**
 * What the corpus of an experiment was made of, as `made-of.json` in its folder. Two experiments that share a folder by
 * mistake would train on each other's texts; this file tells them apart.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod';
import { differences, inWords } from '../../differences.ts';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import { readTextFile } from '../../model/binary-file.ts';
import { parseStrictJson } from '../../model/strict-json.ts';
import { isPrepared } from './prepared.ts';

const fileName = 'made-of.json';
const longestFile = 1 << 20;

/**
 * Takes a folder for a corpus that is made of this and nothing else. Call it before `prepareTraining`.
 * @param madeOf all that decides what the corpus holds; JSON
 * @throws Memory3Error "mismatch" if the folder's corpus is made of something else, or does not say of what; "damaged"; "disk"
 */
export function claimCorpus(folder: string, madeOf: z.output<z.ZodJSONSchema>): void {
  const path = join(folder, fileName);
  const refusal = (fault: string) =>
    new Memory3Error('mismatch', `${folder} ${fault}.`, { remedy: 'Name another folder, or remove this one.' });
  if (existsSync(path)) {
    const { text, damaged } = readTextFile(path, longestFile, 'Restore it from a copy, or name another folder.');
    const changed = differences(parseStrictJson(text, damaged), madeOf);
    if (changed.length > 0) throw refusal(`has a corpus made of something else: ${inWords(changed)}`);
    return;
  }
  if (isPrepared(folder)) throw refusal(`has a corpus but no ${fileName} that says what it was made of`);
  onDisk(folder, () => {
    mkdirSync(folder, { recursive: true });
    replaceFile(folder, fileName, `${JSON.stringify(madeOf, null, 2)}\n`);
  });
}
