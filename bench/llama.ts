/**
 * llama.cpp's side of `memory3 bench speed`: a process that measures one round for each line that it reads.
 *
 *   node bench/llama.ts MODEL.gguf THREADS PROMPT_TOKENS NEW_TOKENS
 *
 * Each answer is one line of JSON: {prefill, decode}, tokens per second.
 */
import { createInterface } from 'node:readline';
import { getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';

const [modelPath, threadsText, promptText, newText] = process.argv.slice(2);
if (modelPath === undefined || newText === undefined) throw new Error('usage: llama.ts MODEL THREADS PROMPT NEW');
const threads = Number(threadsText);
const promptTokens = Number(promptText);
const newTokens = Number(newText);

const llama = await getLlama({ gpu: false, maxThreads: threads, logLevel: LlamaLogLevel.error, build: 'never' });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 2 * (promptTokens + newTokens), threads, batchSize: 512 });
const sequence = context.getSequence();
process.stdout.write('ready\n');

for await (const line of createInterface({ input: process.stdin })) {
  const seed = Number(line);
  await sequence.clearHistory();
  const prompt = Array.from({ length: promptTokens }, (_, i) => (1000 + ((i * 7919 + seed) % 40000)) as Token);
  const started = performance.now();
  let first = 0;
  let count = 0;
  // Tokens that end a text are passed on too: the round has a fixed length.
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    if (count === 0) first = performance.now();
    count++;
    if (count > newTokens) break;
  }
  const prefill = promptTokens / ((first - started) / 1000);
  const decode = newTokens / ((performance.now() - first) / 1000);
  process.stdout.write(`${JSON.stringify({ prefill, decode })}\n`);
}
await llama.dispose();
