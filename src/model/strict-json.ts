/** JSON in which nothing is ambiguous: a key that stands twice, or `__proto__`, is an error and not the last one wins. */
import { messageOf } from '../errors.ts';
import { quoted } from './binary-file.ts';

const deepest = 32;
const mostEntries = 1 << 17;

/**
 * Parses JSON text.
 *
 * @param fault makes the error for what is wrong: it gets the fault, and the parser's own error if there is one
 * @param entries most values that are believable
 */
export function parseStrictJson(
  text: string,
  fault: (what: string, cause?: unknown) => Error,
  entries = mostEntries,
): unknown {
  checkKeys(text, fault, entries);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fault(`it is not JSON: ${messageOf(cause)}`, cause);
  }
}

/** Finds the keys without building anything; text that is no JSON passes here and fails in the parser. */
function checkKeys(text: string, fault: (what: string) => Error, entries: number): void {
  const open: (Set<string> | undefined)[] = [];
  let separators = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : undefined);
      if (open.length > deepest) throw fault(`its JSON is nested more than ${deepest} deep`);
      separators++;
    } else if (character === '}' || character === ']') open.pop();
    else if (character === ',') separators++;
    else if (character === '"') {
      const end = endOfString(text, at);
      if (isKey(text, end)) addKey(open.at(-1), text.slice(at, end), fault);
      at = end - 1;
    }
    if (separators > entries) throw fault(`its JSON has more than ${entries} entries`);
  }
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

function isKey(text: string, from: number): boolean {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++;
  return text[at] === ':';
}

function addKey(keys: Set<string> | undefined, literal: string, fault: (what: string, cause?: unknown) => Error): void {
  let key: string;
  try {
    key = JSON.parse(literal);
  } catch (cause) {
    throw fault(`it is not JSON: the key ${literal.slice(0, 80)} is malformed`, cause);
  }
  if (key === '__proto__') throw fault('a key is named "__proto__"');
  if (keys?.has(key)) throw fault(`key ${quoted(key)} stands there twice`);
  keys?.add(key);
}
