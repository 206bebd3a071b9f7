/**
 * The memory bank as an interface: documents, their references, one vector and at most one explicit memory for each
 * reference. `sqlite.ts` implements it in one file; a distributed engine could do so later.
 */

/** What a bank's vectors and memories were computed with. A bank opened with another identity is refused. */
export interface BankIdentity {
  /** Names for people, fingerprints (hex sha256) for comparison. */
  readonly model: { readonly name: string; readonly fingerprint: string };
  readonly profile: { readonly name: string; readonly fingerprint: string };
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
  readonly name: string;
  readonly title: string | null;
  readonly mediaType: string;
  /** Hex sha256 of the text. */
  readonly contentHash: string;
  readonly characters: number;
  readonly references: number;
  readonly memories: number;
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

/** added: new; unchanged: same name and content; replaced: same name, new content; alias: content stored under another name. */
export type PutOutcome = 'added' | 'unchanged' | 'replaced' | 'alias';

export interface BankStats {
  readonly documents: number;
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
 */
export interface MemoryBank extends Disposable {
  readonly path: string;
  readonly identity: BankIdentity;
  readonly writable: boolean;
  /** What `name` holds, without its text, or undefined. */
  document(name: string): StoredDocument | undefined;
  documents(): IterableIterator<StoredDocument>;
  documentText(id: number): string;
  /** The outcome that `putDocument` would have, so that embedding can be skipped. */
  compare(name: string, text: string): PutOutcome;
  putDocument(document: NewDocument): { readonly outcome: PutOutcome; readonly documentId: number };
  /** @returns false if there was no such document. */
  removeDocument(name: string): boolean;
  references(documentId: number): StoredReference[];
  /** @throws Memory3Error "damaged" or "not-found" if there is no such reference or its row is damaged. */
  reference(id: number): StoredReference;
  vector(referenceId: number): Float32Array;
  /** The stored explicit memory's bytes, or undefined for a reference that is still cold. */
  memory(referenceId: number): Uint8Array | undefined;
  putMemories(memories: readonly { readonly referenceId: number; readonly bytes: Uint8Array }[]): void;
  /** Ids of references without a memory, ascending, read in pages so that writing between them is safe. */
  coldReferences(): IterableIterator<number>;
  /** Nearest references by cosine similarity, best first. */
  searchVectors(query: Float32Array, count: number): SearchHit[];
  /** Best references for a text's words (FTS5, BM25), best first. */
  searchWords(query: string, count: number): SearchHit[];
  stats(): BankStats;
  /** Reads every row and the index; yields what is wrong. */
  verify(): IterableIterator<BankProblem>;
}
