/** Documents of files are named by absolute paths without links; the command line takes them as a shell writes them. */
import { resolve } from 'node:path';
import type { MemoryBank, StoredDocument } from '../bank/bank.ts';
import { realPath } from '../real-path.ts';

/** The document of this name, else of the file that this path leads to, which need not be there any more; and that name. */
export function findDocument(
  bank: MemoryBank,
  nameOrPath: string,
): { readonly document: StoredDocument; readonly name: string } | undefined {
  for (const name of [nameOrPath, pathBehind(nameOrPath), resolve(nameOrPath)]) {
    const document = bank.document(name);
    if (document !== undefined) return { document, name };
  }
  return undefined;
}

function pathBehind(path: string): string {
  try {
    return realPath(path);
  } catch {
    return path; // A name need be no path.
  }
}
