/**
 * Checked rows: every read tests the row's checksum, every write keeps the totals of its table. Nothing else in this
 * folder writes SQL that inserts, updates or deletes rows.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { rowChecksum } from './checksum.ts';
import { damaged } from './failure.ts';
import { type CountedTable, columns, noTotals, type Rows, type TableName, type Totals } from './schema.ts';

export class Tables {
  readonly path: string;
  readonly database: DatabaseSync;
  /** Totals with the changes of the transaction that is open. */
  totals: Totals = noTotals;
  readonly #statements = new Map<string, StatementSync>();

  constructor(path: string, database: DatabaseSync) {
    this.path = path;
    this.database = database;
  }

  /** A prepared statement, kept for the next time. */
  sql(text: string): StatementSync {
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const statement = this.database.prepare(text);
    this.#statements.set(text, statement);
    return statement;
  }

  /**
   * The rows for which `condition` (the end of a SELECT: WHERE, ORDER BY, LIMIT) holds, each tested.
   * @throws Memory3Error "damaged" that names the first damaged row.
   */
  select<T extends TableName>(table: T, condition: string, ...parameters: SQLInputValue[]): Rows[T][] {
    return this.raw(table, condition, ...parameters).map((row) => this.test(table, row));
  }

  /** The row with this key, or undefined. */
  get<T extends TableName>(table: T, key: number): Rows[T] | undefined {
    return this.select(table, `WHERE ${columns[table][0]} = ?`, key)[0];
  }

  /** Like `select` without the test, for reading past damaged rows. */
  raw(table: TableName, condition: string, ...parameters: SQLInputValue[]): Record<string, unknown>[] {
    return this.sql(`SELECT ${columns[table].join(', ')}, checksum FROM ${table} ${condition}`).all(...parameters);
  }

  test<T extends TableName>(table: T, row: Record<string, unknown>): Rows[T] {
    const { checksum, ...values } = row;
    if (this.#checksum(table, values) !== checksum) {
      throw damaged(this.path, `the checksum of row ${values[columns[table][0]]} of table ${table} is wrong`);
    }
    return values as Rows[T];
  }

  /** @returns the key of the new row: that of `row`, or the next free one where it has none. */
  insert<T extends CountedTable>(table: T, row: Rows[T] | Omit<Rows[T], 'id'>): number {
    const values: Record<string, unknown> = { ...row };
    if (columns[table][0] === 'id') values.id ??= this.#nextId(table);
    const checksum = this.#checksum(table, values);
    const names = columns[table];
    this.sql(`INSERT INTO ${table} (${names.join(', ')}, checksum) VALUES (${names.map(() => '?').join(', ')}, ?)`).run(
      ...names.map((name) => values[name] as SQLInputValue),
      checksum,
    );
    this.#count(table, 1, checksum, blobBytes(values));
    return values[names[0]] as number;
  }

  /** Puts `row` in the place of the row with the same key. */
  replace<T extends CountedTable>(table: T, row: Rows[T]): void {
    this.delete(table, row[columns[table][0] as keyof Rows[T]] as number);
    this.insert(table, row);
  }

  /** Deletes the row with this key, damaged or not; false if there is none. */
  delete(table: CountedTable, key: number): boolean {
    const blob =
      table === 'reference' ? 'length(tokens)' : table === 'vector' || table === 'memory' ? 'length(data)' : '0';
    const where = `WHERE ${columns[table][0]} = ?`;
    const row = this.sql(`SELECT checksum, ${blob} AS bytes FROM ${table} ${where}`).get(key);
    if (row === undefined) return false;
    this.sql(`DELETE FROM ${table} ${where}`).run(key);
    this.#count(table, -1, -Number(row.checksum), -Number(row.bytes));
    return true;
  }

  /** Writes the one row of `state`. */
  putState(row: Rows['state']): void {
    const names = columns.state;
    this.sql(`INSERT OR REPLACE INTO state (${names.join(', ')}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)`).run(
      ...names.map((name) => row[name]),
      this.#checksum('state', { ...row }),
    );
  }

  /** A row that is replaced keeps its key, so the keys are counted here and not by the insert alone. */
  #nextId(table: CountedTable): number {
    const row = this.sql('SELECT seq FROM sqlite_sequence WHERE name = ?').get(table);
    return Number(row?.seq ?? 0) + 1;
  }

  #checksum(table: TableName, row: Record<string, unknown>): number {
    return rowChecksum(
      table,
      columns[table].map((name) => row[name] as string | number | null | Uint8Array),
    );
  }

  #count(table: CountedTable, rows: number, checksum: number, bytes: number): void {
    const total = this.totals[table];
    this.totals = {
      ...this.totals,
      [table]: {
        rows: total.rows + rows,
        checksums: (total.checksums + checksum + 2 ** 32) % 2 ** 32,
        bytes: total.bytes + bytes,
      },
    };
  }
}

function blobBytes(row: Record<string, unknown>): number {
  return Object.values(row).reduce<number>((sum, value) => sum + (value instanceof Uint8Array ? value.length : 0), 0);
}

/** Little-endian bytes of 32-bit numbers; the platforms of Node are little-endian. */
export function toBytes(values: Float32Array | Uint32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
}

export function toFloats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}

export function toIntegers(bytes: Uint8Array): number[] {
  return Array.from(new Uint32Array(bytes.slice().buffer));
}
