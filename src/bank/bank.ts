/**
 * The memory bank as an interface: documents, their references, one vector and at most one explicit memory for each
 * reference. `sqlite.ts` implements it in one file; a distributed engine could do so later.
 */
import type { MemoryProfile } from '../memory/profile.ts';

/** What a bank's vectors and memories were computed with. A bank opened with another identity is refused. */
export interface BankIdentity {
  /** Names for people, fingerprints (hex sha256) for comparison. */
  readonly model: { readonly name: string; readonly fingerprint: string };
  readonly profile: {
    readonly name: string;
    readonly fingerprint: string;
    /** What was chosen, so that whoever opens the bank need not say it again; banks without memories have none. */
    readonly chosen?: Omit<MemoryProfile, 'header'> | undefined;
  };
  readonly embedder: { readonly name: string; readonly fingerprint: string; readonly dimensions: number };
}

/** A reference that has not been stored yet: a piece of a document, cut to fit one explicit memory. */
export interface NewReference {
  /** The text exactly as it stands in the document, `[start, end)` in UTF-16 code units. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** Body token ids, header not included. */
  readonly tokens: readonly number[];
  /** Unit length, `[embedder dimensions]`. */
  readonly vector: Float32Array;
}

export interface NewDocument {
  /** Where the text came from: a path, a URL, or a name given by the user. Unique in the bank. */
  readonly name: string;
  readonly title: string | null;
  readonly mediaType: string;
  readonly text: string;
  readonly references: readonly NewReference[];
}

export interface StoredDocument {
  readonly id: number;
  /** The name it was first stored under (of those that it still has). */
  readonly name: string;
  /** Other names that were added with the same content. */
  readonly aliases: readonly string[];
  readonly title: string | null;
  readonly mediaType: string;
  /** Hex sha256 of the text. */
  readonly contentHash: string;
  readonly characters: number;
  readonly references: number;
  readonly memories: number;
  /** True after `rewriteBank` until the document is put again: its references must be cut or embedded anew. */
  readonly pending: boolean;
  /** ISO 8601. */
  readonly addedAt: string;
}

export interface StoredReference {
  readonly id: number;
  readonly documentId: number;
  readonly documentName: string;
  readonly documentTitle: string | null;
  /** Position among the document's references, from 0. */
  readonly ordinal: number;
  readonly text: string;
  readonly start: number;
  readonly end: number;
  readonly tokens: readonly number[];
}

export interface SearchHit {
  readonly referenceId: number;
  /** Cosine similarity, BM25 (higher is better) or a fused rank score, as the search says. */
  readonly score: number;
}

/**
 * added: new; unchanged: same name and content; replaced: new content under a known name, or a document that was
 * pending after a rewrite; alias: the content is stored already, under another name that now shares it.
 */
export type PutOutcome = 'added' | 'unchanged' | 'replaced' | 'alias';

export interface BankStats {
  readonly documents: number;
  /** Documents whose references must be written again after `rewriteBank`. */
  readonly pending: number;
  readonly references: number;
  readonly memories: number;
  readonly memoryBytes: number;
  readonly fileBytes: number;
  readonly identity: BankIdentity;
}

export interface BankProblem {
  readonly where: string;
  readonly what: string;
}

/**
 * Reading is open to any number of processes; one process at a time writes. Every method that writes is one
 * transaction: when it has returned, its effect survives the process being killed.
 *
 * Every method throws a Memory3Error "damaged" that names the row when a checksum is wrong, and "mismatch" when the
 * bank was rewritten for another model since it was opened.
 */
export interface MemoryBank extends Disposable {
  /** Of the file itself: absolute, symbolic links followed. */
  readonly path: string;
  readonly identity: BankIdentity;
  readonly writable: boolean;
  /** What `name` holds, without its text, or undefined. */
  document(name: string): StoredDocument | undefined;
  /** Every document once, in the order in which they were added; safe to write between two of them. */
  documents(): IterableIterator<StoredDocument>;
  documentText(id: number): string;
  /** The outcome that `putDocument` would have: embedding can be skipped for "unchanged" and "alias". */
  compare(name: string, text: string): PutOutcome;
  /**
   * Stores a document under its name. What the name held before is replaced; references whose text and tokens did not
   * change keep their id, their vector and their memory. For "unchanged" and "alias" `references` is ignored; the title
   * of "unchanged" is stored if the name is the document's first.
   * Lone surrogates in the text and the title, which UTF-8 cannot hold, become U+FFFD.
   * @throws Memory3Error "usage" if a reference is not a slice of the text or a vector not a unit vector.
   */
  putDocument(document: NewDocument): { readonly outcome: PutOutcome; readonly documentId: number };
  /**
   * Takes the name away and, when no other name shares it, the document with all that belongs to it.
   * @returns false if there was no such name.
   */
  removeDocument(name: string): boolean;
  /** The document's references in order. */
  references(documentId: number): StoredReference[];
  /** @throws Memory3Error "damaged" or "not-found" if there is no such reference or its row is damaged. */
  reference(id: number): StoredReference;
  vector(referenceId: number): Float32Array;
  /** The stored explicit memory's bytes, or undefined for a reference that is still cold. */
  memory(referenceId: number): Uint8Array | undefined;
  /** @throws Memory3Error "not-found" if there is no such reference; then none is stored. */
  putMemories(memories: readonly NewMemory[]): void;
  /**
   * Stores memories that a reader wrote for cold references, in one short transaction, if nobody else is writing.
   * References that were removed or written by somebody else meanwhile are left as they are.
   * @returns false if the writer's lock is taken, the bank cannot be written by this process (no permission, no space), or
   * it was deleted or another one stands in its place; nothing is stored then.
   */
  tryPutMemories(memories: readonly NewMemory[]): boolean;
  /** Ids of references without a memory, ascending, read in pages so that writing between them is safe. */
  coldReferences(): IterableIterator<number>;
  /** Nearest references by cosine similarity, best first. */
  searchVectors(query: Float32Array, count: number): SearchHit[];
  /** Best references for a text's words (FTS5, BM25), best first; very common words are left out. */
  searchWords(query: string, count: number): SearchHit[];
  /**
   * Reads of one moment, whatever others write meanwhile.
   * @param work reads from this bank, and waits for nothing
   * @example bank.snapshot(() => bank.searchWords('bees', 5).map(({ referenceId }) => bank.reference(referenceId)))
   */
  snapshot<T>(work: () => T): T;
  /** Brings the vector index up to date and saves it, so that the next process need not. */
  prepareSearch(): void;
  stats(): BankStats;
  /** Reads every row and the index, in one consistent view; yields what is wrong. */
  verify(): IterableIterator<BankProblem>;
}

export interface NewMemory {
  readonly referenceId: number;
  readonly bytes: Uint8Array;
}
