/**
 * A graph as an ONNX ModelProto (onnx.proto3, IR version 10). Large constants stay outside the protobuf as external
 * data, because a ModelProto may not exceed 2 GB and because their bytes need not be copied to be handed over.
 */
import type { Attribute, ElementType, Graph, Initializer, ValueInfo } from './graph.ts';
import { ProtobufWriter } from './protobuf.ts';

/** A model ready for a session: its protobuf and the bytes of its external constants by location. */
export interface OnnxModel {
  readonly model: Uint8Array;
  readonly externalData: readonly { readonly path: string; readonly data: Uint8Array }[];
}

const irVersion = 10;
const opsets = { '': 21, 'com.microsoft': 1 } as const;
const dataTypes: Record<ElementType, number> = { float32: 1, uint8: 2, int64: 7 };
/** ONNX Runtime reads shapes and axes while loading, before external data is at hand: small constants stay inside. */
const inlineBytes = 1024;

/** Writes a graph as an ONNX model. */
export function writeOnnx(graph: Graph): OnnxModel {
  const externalData: { path: string; data: Uint8Array }[] = [];
  const writer = new ProtobufWriter();
  writer.int(1, irVersion);
  writer.string(2, 'memory3');
  writer.message(7, (proto) => {
    for (const operator of graph.operators) {
      proto.message(1, (node) => {
        for (const input of operator.inputs) node.string(1, input);
        for (const output of operator.outputs) node.string(2, output);
        // Named by its first output so that a profile or an error points to one place in the graph.
        node.string(3, operator.outputs[0] ?? operator.type);
        node.string(4, operator.type);
        for (const [name, value] of Object.entries(operator.attributes)) {
          node.message(5, (attribute) => writeAttribute(attribute, name, value));
        }
        node.string(7, operator.domain);
      });
    }
    proto.string(2, graph.name);
    for (const initializer of graph.initializers) {
      const data = bytesOf(initializer.data);
      const external = data.length > inlineBytes;
      if (external) externalData.push({ path: initializer.name, data });
      proto.message(5, (tensor) => writeTensor(tensor, initializer, external ? undefined : data));
    }
    for (const input of graph.inputs) proto.message(11, (value) => writeValueInfo(value, input));
    for (const output of graph.outputs) proto.message(12, (value) => writeValueInfo(value, output));
  });
  for (const [domain, version] of Object.entries(opsets)) {
    writer.message(8, (opset) => {
      opset.string(1, domain);
      opset.int(2, version);
    });
  }
  return { model: writer.finish(), externalData };
}

function writeAttribute(writer: ProtobufWriter, name: string, value: Attribute): void {
  writer.string(1, name);
  if (typeof value === 'number') {
    writer.int(3, value);
    writer.int(20, 2);
  } else if (typeof value === 'string') {
    writer.string(4, value);
    writer.int(20, 3);
  } else if ('float' in value) {
    writer.float(2, value.float);
    writer.int(20, 1);
  } else {
    for (const item of value) writer.int(8, item);
    writer.int(20, 7);
  }
}

function writeTensor(writer: ProtobufWriter, initializer: Initializer, inline: Uint8Array | undefined): void {
  for (const dimension of initializer.shape) writer.int(1, dimension);
  writer.int(2, dataTypes[initializer.type]);
  writer.string(8, initializer.name);
  if (inline !== undefined) {
    writer.bytes(9, inline);
    return;
  }
  const entries = { location: initializer.name, offset: '0', length: String(bytesOf(initializer.data).length) };
  for (const [key, value] of Object.entries(entries)) {
    writer.message(13, (entry) => {
      entry.string(1, key);
      entry.string(2, value);
    });
  }
  writer.int(14, 1);
}

function writeValueInfo(writer: ProtobufWriter, info: ValueInfo): void {
  writer.string(1, info.name);
  writer.message(2, (type) => {
    type.message(1, (tensor) => {
      tensor.int(1, dataTypes[info.type]);
      tensor.message(2, (shape) => {
        for (const dimension of info.shape) {
          shape.message(1, (value) => {
            if (typeof dimension === 'number') value.int(1, dimension);
            else value.string(2, dimension);
          });
        }
      });
    });
  });
}

function bytesOf(data: Float32Array | BigInt64Array | Uint8Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
