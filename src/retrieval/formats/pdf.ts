/** PDF: the text of its pages, and the numbers of those without any. */
import { readFile } from 'node:fs/promises';
import { type ExtractedText, onOneLine, Unreadable, type UnreadPart } from './text.ts';

/** The character maps of Chinese, Japanese and Korean fonts that a PDF names and does not hold; the reader brings none. */
const characterMaps = new URL('../../../assets/cmaps/', import.meta.url);

const scanned = 'scanned pages need text recognition first';

/**
 * The text of a PDF, a blank line between its pages. Pages without text are told.
 * @param maps the folder of character maps
 * @throws Unreadable for bytes that are no PDF, and for one that needs a password or has no text at all.
 */
export async function fromPdf(bytes: Uint8Array, maps: URL = characterMaps): Promise<ExtractedText> {
  /** Names of files that the reader asked for and that are not there. */
  const missing = new Set<string>();
  class CharacterMaps {
    async fetch({ kind, filename }: { readonly kind: string; readonly filename: string }): Promise<Uint8Array> {
      // Only pictures need what else it asks for: outlines of fonts, decoders.
      if (kind !== 'cMapUrl') throw new Error(`${kind} is not served.`);
      try {
        return new Uint8Array(await readFile(new URL(filename, maps)));
      } catch (error) {
        missing.add(filename.replace(/\.bcmap$/, ''));
        throw error;
      }
    }
  }
  const { title, pages } = await readPages(bytes, CharacterMaps);
  const text = pages.join('\n\n');
  if (missing.size === 0 && text.trim() === '') throw new Unreadable(`there is no text in it; ${scanned}`);
  return { title, text, unread: [...withoutMaps(missing), ...withoutText(pages)] };
}

interface Pages {
  readonly title: string | null;
  /** The text of each. */
  readonly pages: readonly string[];
}

async function readPages(bytes: Uint8Array, BinaryDataFactory: object): Promise<Pages> {
  const { extractText: extractPages, getDocumentProxy, getMeta } = await import('unpdf');
  try {
    // A copy: the reader takes the buffer away. Verbosity 0: its warnings would land on the terminal.
    const options = { verbosity: 0, BinaryDataFactory };
    await using document = disposable(await getDocumentProxy(Uint8Array.from(bytes), options));
    const { text } = await extractPages(document.value, { mergePages: false });
    const { info } = await getMeta(document.value);
    const title: unknown = info.Title;
    return { title: typeof title === 'string' && title.trim() !== '' ? title.trim() : null, pages: text };
  } catch (error) {
    const isProtected = error instanceof Error && error.name === 'PasswordException';
    throw new Unreadable(isProtected ? 'the PDF needs a password' : `the PDF cannot be read: ${onOneLine(error)}`, {
      cause: error,
    });
  }
}

function withoutMaps(missing: ReadonlySet<string>): readonly UnreadPart[] {
  if (missing.size === 0) return [];
  const maps = [...missing].join(', ');
  const reason = `the installation lacks the character maps ${maps} (assets/cmaps), and so the text of fonts that use them`;
  return [{ part: 'some fonts', reason }];
}

function withoutText(pages: readonly string[]): readonly UnreadPart[] {
  const empty = pages.flatMap((page, index) => (page.trim() === '' ? [index + 1] : []));
  if (empty.length === 0) return [];
  const part = `${empty.length === 1 ? 'page' : 'pages'} ${ranges(empty)}`;
  return [{ part, reason: `there is no text there; ${scanned}` }];
}

/** Ascending numbers as "2, 4-6". */
function ranges(numbers: readonly number[]): string {
  const firsts = numbers.filter((number, index) => numbers[index - 1] !== number - 1);
  const lasts = numbers.filter((number, index) => numbers[index + 1] !== number + 1);
  return firsts.map((first, index) => (first === lasts[index] ? `${first}` : `${first}-${lasts[index]}`)).join(', ');
}

function disposable<T extends { destroy(): Promise<void> }>(value: T): AsyncDisposable & { readonly value: T } {
  return { value, [Symbol.asyncDispose]: () => value.destroy() };
}
