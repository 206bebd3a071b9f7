/**
 * llama.cpp's side of `memory3 bench speed` and `bench throughput`: a process that measures one round for each line that it
 * reads.
 *
 *   node bench/llama.ts MODEL.gguf THREADS PROMPT_TOKENS NEW_TOKENS [SEQUENCES]
 *
 * Each answer is one line of JSON: {prefill, decode}, tokens per second of all sequences together. The prompts count as
 * read when every sequence has its first token.
 */
import { createInterface } from 'node:readline';
import { getLlama, type LlamaContextSequence, LlamaLogLevel, type Token } from 'node-llama-cpp';

const [modelPath, threadsText, promptText, newText, sequencesText = '1'] = process.argv.slice(2);
if (modelPath === undefined || newText === undefined)
  throw new Error('usage: llama.ts MODEL THREADS PROMPT NEW [SEQUENCES]');
const threads = Number(threadsText);
const promptTokens = Number(promptText);
const newTokens = Number(newText);

const llama = await getLlama({ gpu: false, maxThreads: threads, logLevel: LlamaLogLevel.error, build: 'never' });
const model = await llama.loadModel({ modelPath });
const contextSize = 2 * (promptTokens + newTokens);
const count = Number(sequencesText);
const context = await model.createContext({ contextSize, sequences: count, threads, batchSize: 512 });
const sequences = Array.from({ length: count }, () => context.getSequence());
process.stdout.write('ready\n');

for await (const line of createInterface({ input: process.stdin })) {
  const seed = Number(line);
  for (const sequence of sequences) await sequence.clearHistory();
  const started = performance.now();
  const firsts = await Promise.all(sequences.map((sequence, index) => generate(sequence, seed + 101 * index)));
  const first = Math.max(...firsts);
  const prefill = (count * promptTokens) / ((first - started) / 1000);
  const decode = (count * newTokens) / ((performance.now() - first) / 1000);
  process.stdout.write(`${JSON.stringify({ prefill, decode })}\n`);
}
await llama.dispose();

/** Reads a prompt and generates; returns the time of the first token. */
async function generate(sequence: LlamaContextSequence, seed: number): Promise<number> {
  const prompt = Array.from({ length: promptTokens }, (_, i) => (1000 + ((i * 7919 + seed) % 40000)) as Token);
  let first = 0;
  let generated = 0;
  // Tokens that end a text are passed on too: the round has a fixed length.
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    if (generated === 0) first = performance.now();
    generated++;
    if (generated > newTokens) break;
  }
  return first;
}
