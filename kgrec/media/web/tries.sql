-- Every try made for the keys in question. An address that several keys wanted was asked once; its tries are a row for each.
SELECT asks.key, asks.source, answers.url, tries.attempt, tries.time, tries.seconds, tries.status, tries.http,
       tries.reason, tries.bytes, asks.licence, asks.max_age_days
FROM {wanted} AS wanted
CROSS JOIN asks ON asks.key = wanted.key
CROSS JOIN answers ON answers.id = asks.answer
CROSS JOIN tries ON tries.answer = answers.id
ORDER BY wanted.key, asks.source, answers.url, tries.attempt
