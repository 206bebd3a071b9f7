/** Opening the SQLite file of a bank: creating it, telling it from other files, reading its state. */
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { syncFolder } from '../durable-file.ts';
import { Memory3Error } from '../errors.ts';
import type { BankIdentity } from './bank.ts';
import { bankError, damaged, notABank } from './failure.ts';
import { identitySchema } from './identity.ts';
import { applicationId, createTables, noTotals, schemaVersion, type Totals } from './schema.ts';
import { Tables } from './tables.ts';

/** What the one row of `state` says. */
export interface BankState {
  readonly identity: BankIdentity;
  readonly vectorsId: string;
  readonly generation: number;
  readonly totals: Totals;
  readonly schemaHash: string;
}

/** Milliseconds that a statement waits for another process's transaction. */
const timeout = 5000;

const totalSchema = z.strictObject({
  rows: z.int().nonnegative(),
  checksums: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
});
const totalsSchema = z.strictObject({
  document: totalSchema,
  content: totalSchema,
  name: totalSchema,
  reference: totalSchema,
  vector: totalSchema,
  memory: totalSchema,
});

/** Opens for writing; the caller holds the writer's lock. Creates the bank if there is none and `identity` is given. */
export function openForWriting(bankPath: string, identity: BankIdentity | undefined): DatabaseSync {
  if (identity === undefined) checkExists(bankPath);
  const database = new DatabaseSync(bankPath, { timeout });
  try {
    const empty = database.prepare('SELECT 1 FROM sqlite_schema').get() === undefined;
    if (empty && identity === undefined) throw noBank(bankPath);
    if (!empty) checkHeader(bankPath, database);
    // WAL: readers go on while a writer commits. FULL: a commit returns when its bytes are on the disk.
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    // On macOS fsync alone leaves the bytes in the disk's cache; elsewhere these change nothing.
    database.exec('PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON');
    if (empty && identity !== undefined) create(bankPath, database, identity);
    eraseWhatIsRemoved(database);
    // What a killed writer left in the log goes into the file now, as far as no reader still needs the log.
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** @throws Memory3Error "not-found", or "disk" if the file can only be read after another process has written. */
export function openForReading(bankPath: string): DatabaseSync {
  checkExists(bankPath);
  let database = new DatabaseSync(bankPath, { readOnly: true, timeout });
  try {
    try {
      checkHeader(bankPath, database);
    } catch (error) {
      const failure = bankError(bankPath, error);
      if (!(failure instanceof Memory3Error) || failure.code !== 'disk' || canWriteBeside(bankPath)) throw failure;
      // SQLite shares a WAL file's index in a file beside it, which cannot be made in this folder.
      if (logBytes(bankPath) > 0) {
        throw new Memory3Error('disk', `${bankPath} has a log (-wal) beside it, and its folder cannot be written.`, {
          cause: error,
          remedy:
            'Let a user who can write the folder write the bank once (`memory3 add`, `remove` or `import`): that merges the log into the file.',
        });
      }
      // Nobody has it open, and nobody can write it from here: all of it is in the one file.
      database.close();
      database = new DatabaseSync(new URL(`${pathToFileURL(path.resolve(bankPath)).href}?immutable=1`), {
        readOnly: true,
      });
      checkHeader(bankPath, database);
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Size of SQLite's log beside the bank, which may hold commits that are not in the file yet. */
export function logBytes(bankPath: string): number {
  return statSync(`${bankPath}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}

export function canWriteBeside(bankPath: string): boolean {
  try {
    accessSync(path.dirname(path.resolve(bankPath)), constants.W_OK);
    return true;
  } catch {
    return false; // The answer to the question, not a fault.
  }
}

/** Reads and checks `state`. Inside a transaction of the caller. */
export function readState(tables: Tables): BankState {
  const row = tables.get('state', 1);
  if (row === undefined) throw damaged(tables.path, 'its state is missing');
  return {
    identity: identitySchema.parse(JSON.parse(row.identity)),
    vectorsId: row.vectors_id,
    generation: row.generation,
    totals: totalsSchema.parse(JSON.parse(row.totals)),
    schemaHash: row.schema_hash,
  };
}

export function writeState(tables: Tables, state: BankState): void {
  tables.putState({
    id: 1,
    schema_hash: state.schemaHash,
    identity: JSON.stringify(state.identity),
    vectors_id: state.vectorsId,
    generation: state.generation,
    totals: JSON.stringify(state.totals),
  });
}

/** A damaged schema could drop a constraint or exchange two columns: it must be the one that was created. */
export function checkSchema(tables: Tables, state: BankState): void {
  if (schemaHash(tables.database) !== state.schemaHash) throw damaged(tables.path, 'its schema was changed');
}

function create(bankPath: string, database: DatabaseSync, identity: BankIdentity): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    database.exec(createTables);
    database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion}`);
    const tables = new Tables(bankPath, database);
    writeState(tables, {
      identity,
      vectorsId: crypto.randomUUID(),
      generation: 0,
      totals: noTotals,
      schemaHash: schemaHash(database),
    });
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
  syncFolder(path.dirname(path.resolve(bankPath)));
}

/** What is removed is overwritten in the file and in its full-text index: a removed text should not be readable there. */
function eraseWhatIsRemoved(database: DatabaseSync): void {
  database.exec('PRAGMA secure_delete = ON');
  const isSet = database.prepare(`SELECT 1 FROM words_config WHERE k = 'secure-delete' AND v = 1`).get() !== undefined;
  if (!isSet) eraseWords(database, true);
}

/** Whether removed rows are erased from the full-text index at once. */
export function eraseWords(database: DatabaseSync, isErased: boolean): void {
  database.exec(`INSERT INTO words (words, rank) VALUES ('secure-delete', ${isErased ? 1 : 0})`);
}

export function makeFolderOf(bankPath: string): void {
  mkdirSync(path.dirname(path.resolve(bankPath)), { recursive: true });
}

function checkHeader(bankPath: string, database: DatabaseSync): void {
  if (database.prepare('SELECT 1 FROM sqlite_schema').get() === undefined) throw noBank(bankPath);
  const application = database.prepare('PRAGMA application_id').get()?.application_id;
  if (application !== applicationId) {
    throw notABank(bankPath);
  }
  const version = database.prepare('PRAGMA user_version').get()?.user_version;
  if (version !== schemaVersion) {
    throw new Memory3Error('unsupported', `${bankPath} has version ${version} of the bank's format.`, {
      remedy: `This program reads version ${schemaVersion}; another version of it can export the bank.`,
    });
  }
  // Found with the page, not later: cells that overlap or lie outside of it.
  database.exec('PRAGMA cell_size_check = ON');
}

function schemaHash(database: DatabaseSync): string {
  const rows = database.prepare('SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name').all();
  return createHash('sha256')
    .update(JSON.stringify(rows.map((row) => Object.values(row))))
    .digest('hex');
}

/** @throws Memory3Error "not-found" if there is no file; what is in it is not looked at. */
export function checkExists(bankPath: string): void {
  if (!existsSync(bankPath)) throw noBank(bankPath);
  refuseFolder(bankPath);
}

/** @throws Memory3Error "not-found" if a folder lies where the bank should. */
export function refuseFolder(bankPath: string): void {
  if (!existsSync(bankPath) || !statSync(bankPath).isDirectory()) return;
  throw new Memory3Error('not-found', `${bankPath} is a folder, not a memory bank.`, {
    remedy: 'Give the path of a file, or a name without a separator.',
  });
}

function noBank(bankPath: string): Memory3Error {
  return new Memory3Error('not-found', `There is no memory bank at ${bankPath}.`, {
    remedy: 'Make one with `memory3 add`.',
  });
}
