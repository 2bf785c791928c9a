'use strict';
const { assert, fails, run, settings } = require('./checks.cjs');
const M = require('ali-mns');

// The package derives its URLs from account and region, and has no option for another endpoint.
for (const kind of [M.MNS, M.MNSTopic, M.MQ, M.MQBatch, M.Topic, M.Subscription]) {
  for (const name of Object.getOwnPropertyNames(kind.prototype).filter((one) => /^make\w*URL$/.test(one))) {
    const original = kind.prototype[name];
    kind.prototype[name] = function make() {
      return original.call(this).replace(/^https?:\/\/[^/]+/, settings.url);
    };
  }
}
const account = new M.Account('1000000000000001', settings.id, settings.secret);
account.setGA(false);
const mns = new M.MNSTopic(account, 'hangzhou');
const queue = new M.MQ('orders', account, 'hangzhou');
const batch = new M.MQBatch('batch', account, 'hangzhou');
const topic = new M.Topic('news', account, 'hangzhou');
const subscription = new M.Subscription('copies', topic);
let message;

run('ali-mns', {
  'createP': () => mns.createP('orders', { VisibilityTimeout: 30, DelaySeconds: 0 }),
  'createP of another queue': () => mns.createP('batch'),
  'listP': async () => {
    const { Queues } = await mns.listP('o', 10);
    assert.match(Queues.Queue.QueueURL, /orders$/);
  },
  'getAttrsP': async () => assert.equal((await queue.getAttrsP()).Queue.QueueName, 'orders'),
  'setAttrsP': () => queue.setAttrsP({ VisibilityTimeout: 40 }),
  'sendP': async () => assert.ok((await queue.sendP('héllo', 8, 0)).Message.MessageId),
  'peekP': async () => assert.equal((await queue.peekP()).Message.MessageBody, 'héllo'),
  'recvP': async () => {
    message = (await queue.recvP(1)).Message;
    assert.equal(message.MessageBody, 'héllo');
  },
  'reserveP': async () => {
    const { ChangeVisibility } = await queue.reserveP(message.ReceiptHandle, 60);
    message.ReceiptHandle = ChangeVisibility.ReceiptHandle;
  },
  'deleteP of a message': () => queue.deleteP(message.ReceiptHandle),
  'recvP of nothing': () => fails(queue.recvP(1), 'MessageNotExist'),
  'sendP of a batch': () => batch.sendP([new M.Msg('one'), new M.Msg('two')]),
  'peekP of a batch': async () => assert.equal([].concat((await batch.peekP(2)).Messages.Message).length, 2),
  'recvP and deleteP of a batch': async () => {
    const { Messages } = await batch.recvP(1, 2);
    await batch.deleteP(Messages.Message.map((one) => one.ReceiptHandle));
  },
  'createTopicP': () => mns.createTopicP('news'),
  'listTopicP': async () => assert.ok((await mns.listTopicP('', 10)).Topics.Topic),
  'subscribeP': () => topic.subscribeP(
    'copies', 'acs:mns:cn-local:1000000000000001:queues/orders',
    M.Subscription.NotifyStrategy.BACKOFF_RETRY, M.Subscription.NotifyContentFormat.SIMPLIFIED,
  ),
  'getAttrsP of a subscription': async () => assert.equal((await subscription.getAttrsP()).Subscription.SubscriptionName, 'copies'),
  'publishP': async () => {
    await topic.publishP('news', false);
    assert.equal((await queue.peekP()).Message.MessageBody.length > 0, true);
  },
  'unsubscribeP': () => topic.unsubscribeP('copies'),
  'deleteTopicP': () => mns.deleteTopicP('news'),
  'deleteP of a queue': () => mns.deleteP('orders'),
  'deleteP of a missing queue': () => mns.deleteP('missing'),
});
