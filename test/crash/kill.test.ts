import { it } from 'node:test';
import { killAgainAndAgain } from './kill.ts';

it('loses nothing that was acknowledged in 20 kills', async (context) => {
  await killAgainAndAgain({
    kills: 20,
    seed: 'npm test',
    target: 'add',
    onKill: (report) => context.diagnostic(report),
  });
});
