/**
 * What people write into the results page stays there when it is made again. It stands between comments:
 *
 *   <!-- remarks:general -->
 *   Memory loses on HellaSwag because ...
 *   <!-- /remarks -->
 */
import { Memory3Error } from '../../errors.ts';

/** Texts by their places. */
export type Remarks = ReadonlyMap<string, string>;

const marks = /<!-- remarks:([\w-]+) -->\n?([\s\S]*?)<!-- \/remarks -->/g;
const anyMark = /<!-- (?:remarks:[^>]*|\/remarks) -->/g;

/** The place for remarks in a page, with what stands there. */
export function remarksBlock(place: string, remarks: Remarks): string {
  const text = remarks.get(place)?.trim() ?? '';
  return `<!-- remarks:${place} -->\n${text === '' ? '' : `${text}\n`}<!-- /remarks -->`;
}

/**
 * The remarks of a page.
 * @param places that the page will have when it is made again
 * @throws Memory3Error "mismatch" for a file that is no results page; "damaged" where remarks would be lost: a comment is
 *   missing, a place is there twice or will not be there any more.
 */
export function readRemarks(page: string, places: readonly string[], file: string): Remarks {
  const found = [...page.matchAll(marks)].map(([, place = '', text = '']) => ({ place, text: text.trim() }));
  if (found.length === 0) {
    throw new Memory3Error('mismatch', `${file} is no page of results: it has no places for remarks.`, {
      remedy: 'Name another file (--docs), or remove this one.',
    });
  }
  const damaged = (what: string) =>
    new Memory3Error('damaged', `${file}: ${what}, so remarks could get lost.`, {
      remedy: 'Each remark stands between <!-- remarks:name --> and <!-- /remarks -->.',
    });
  if ((page.match(anyMark)?.length ?? 0) !== 2 * found.length) throw damaged('a comment of remarks has no other one');
  const remarks = new Map<string, string>();
  for (const { place, text } of found) {
    if (text.includes('<!-- remarks:')) throw damaged(`the remarks "${place}" have no end`);
    if (remarks.has(place)) throw damaged(`the remarks "${place}" are there twice`);
    if (text !== '' && !places.includes(place)) throw damaged(`there is no place for the remarks "${place}" any more`);
    remarks.set(place, text);
  }
  return remarks;
}
