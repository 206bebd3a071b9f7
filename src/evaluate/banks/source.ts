/**
 * A source of a bank for evaluation: files of a data folder, and how their lines become documents.
 *
 * A document is called `<file>#<id>`, by which a bank can say later what it holds. Two with the same text are stored once,
 * under both names: that is what a bank does with every document.
 */
import { join } from 'node:path';
import type { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import type { SourceText } from '../../generate/library.ts';
import { streamJsonLines } from '../../json-lines.ts';
import type { SkippedSource } from '../../retrieval/documents.ts';

/** A document of a source. */
export interface Passage {
  /** Its own among those of its file. */
  readonly id: string | number;
  readonly title: string | null;
  readonly text: string;
}

interface Definition<Line> {
  /** What `--sources` calls it. */
  readonly name: string;
  /** Of the texts. */
  readonly licence: string;
  /** In the data folder; JSON Lines, plain or gzip. */
  readonly files: readonly [string, ...string[]];
  readonly line: z.ZodType<Line>;
  /** The documents of a line. */
  readonly passages: (line: Line) => Passage | readonly Passage[];
}

export interface BankSource extends Omit<Definition<unknown>, 'line' | 'passages'> {
  /**
   * Its documents in a fixed order; those without any text are skipped and said so.
   * @throws Memory3Error "not-found" or "damaged", naming file and line.
   */
  readonly read: (folder: string) => AsyncGenerator<SourceText | SkippedSource, void>;
}

/** Makes a source; see `sources.ts` for examples. */
export function defineSource<Line>({ line, passages, ...source }: Definition<Line>): BankSource {
  return {
    ...source,
    async *read(folder) {
      for (const file of source.files) {
        for await (const { value, number } of streamJsonLines(join(folder, file), line)) {
          for (const { id, title, text } of [passages(value)].flat()) {
            // UTF-8, in which everything is stored, cannot hold half a character.
            if (!text.isWellFormed()) {
              throw new Memory3Error('damaged', `${join(folder, file)}, line ${number}: it has half a surrogate pair.`);
            }
            const name = documentName(file, id);
            if (text.trim() === '') yield { skipped: name, reason: 'there is no text in it' };
            else yield { name, title, mediaType: 'text/plain', text };
          }
        }
      }
    },
  };
}

/** @example documentName('wiki_demo/all.jsonl.gz', 3) // 'wiki_demo/all#3' */
function documentName(file: string, id: string | number): string {
  return `${stem(file)}#${id}`;
}

/** Whether a document of this name came from the source. */
export function isFrom({ files }: BankSource, name: string): boolean {
  return files.some((file) => name.startsWith(`${stem(file)}#`));
}

function stem(file: string): string {
  return file.replace(/\.jsonl(\.gz)?$/, '');
}
