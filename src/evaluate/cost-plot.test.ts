import assert from 'node:assert/strict';
import { test } from 'node:test';
import { knowledgeCosts, paperModel } from './cost.ts';
import { costPlot } from './cost-plot.ts';

test('the plot of the 2.4B model has three lines and the two crossovers', async () => {
  const svg = await costPlot('The 2.4B model', knowledgeCosts(paperModel.shape, paperModel.memory));
  assert.match(svg, /^<svg /);
  for (const text of ['The 2.4B model', 'explicit (memory)', 'n = 0.494', 'n = 13 400']) {
    assert.ok(svg.includes(`>${text}</text>`), text);
  }
  const lines = [...svg.matchAll(/<path aria-label="number of uses n[^>]* d="([^"]+)"/g)].map((match) => match[1]);
  assert.equal(lines.length, 3);
  assert.doesNotMatch(svg, /NaN/);
});

test('a format that is never the cheapest has no crossover', async () => {
  const { implicit, external } = knowledgeCosts(paperModel.shape, paperModel.memory);
  const svg = await costPlot('Memory is dear', { implicit, external, explicit: { write: 1e13, read: 1e12 } });
  assert.equal([...svg.matchAll(/>n = [^<]+</g)].length, 1);
});
