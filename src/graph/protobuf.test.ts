import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProtobufWriter } from './protobuf.ts';

function check(write: (writer: ProtobufWriter) => void, hex: string): void {
  const writer = new ProtobufWriter();
  write(writer);
  assert.equal(Buffer.from(writer.finish()).toString('hex'), hex);
}

/** Expected bytes by hand, from the wire format: key = field << 3 | type, then the value. */
describe('protobuf bytes', () => {
  it('of integers are varints, seven bits a byte', () => {
    check((w) => w.int(1, 0), '0800');
    check((w) => w.int(1, 150), '089601');
    check((w) => w.int(1, 2 ** 40), '08808080808020');
    check((w) => w.int(1, 2n ** 63n - 1n), '08ffffffffffffffff7f');
  });

  it('of negative integers are ten bytes of two’s complement', () => {
    check((w) => w.int(1, -1), '08ffffffffffffffffff01');
    check((w) => w.int(1, -2), '08feffffffffffffffff01');
  });

  it('of field numbers above 15 take two bytes', () => {
    check((w) => w.int(20, 7), 'a00107');
  });

  it('of floats are four bytes, little-endian', () => {
    check((w) => w.float(2, -1.5), '150000c0bf');
  });

  it('of strings, bytes and messages begin with their length, in bytes', () => {
    check((w) => w.string(2, 'é'), '1202c3a9');
    check((w) => w.bytes(3, Uint8Array.of()), '1a00');
    check((w) => w.message(3, (nested) => nested.int(1, 150)), '1a03089601');
  });

  it('grow beyond any first buffer', () => {
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);
    const write = (writer: ProtobufWriter) => {
      writer.int(1, 1);
      writer.message(2, (nested) => nested.bytes(1, bytes));
      writer.int(1, 2);
    };
    // 0a 8827: field 1, 5000 bytes; with those three, 5003 = 8b27.
    check(write, `0801128b270a8827${Buffer.from(bytes).toString('hex')}0802`);
  });
});
